"""Any model labels through one protocol, and what it does not know stays unknown."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy import ndarray

from possam_core.checkpoints.card import TeacherCard
from possam_core.errors import TeacherError
from possam_core.labels.calibration import CalibrationConfig, LogitMap
from possam_core.labels.frame import Frame
from possam_core.teachers.own import load_own_teacher, try_teacher
from possam_core.teachers.teacher import Proposals, Teacher
from possam_core.vocabulary.vocabulary import Vocabulary

WORDS = Vocabulary.from_records(
    "words", [{"name": "cup", "kind": "thing"}, {"name": "sky", "kind": "stuff"}]
)
IMAGE = np.zeros((2, 3, 3), np.uint8)


def left_and_all(image: ndarray) -> Proposals:
    """A cup of score 0.9 in the left column, and sky of score 0.6 everywhere."""
    masks = torch.ones(2, *image.shape[:2], dtype=torch.bool)
    masks[0, :, 1:] = False
    return Proposals.of_hard_masks(
        masks, torch.tensor([0, 1]), torch.tensor([0.9, 0.6]), num_classes=2
    )


class Detector(Teacher):
    card = TeacherCard(name="detector", fingerprint="1")
    vocabulary = WORDS

    def __init__(self, change: object = None) -> None:
        self.change = change

    def propose(self, images: Sequence[ndarray]) -> Iterable[Proposals]:
        for image in images:
            proposals = left_and_all(image)
            yield self.change(proposals) if callable(self.change) else proposals


def test_overlapping_hard_masks_become_segments_with_unknown_figures() -> None:
    (found,) = Detector()([IMAGE])
    assert found.ids.tolist() == [[1, 2, 2], [1, 2, 2]]
    cup, sky = found.segments
    assert (cup.category_name, cup.area_px, cup.bbox_xywh) == ("cup", 2, (0, 0, 1, 2))
    assert (round(cup.score, 6), round(sky.score, 6)) == (0.9, 0.6)
    for segment in found.segments:
        unknown = (segment.predicted_iou, segment.margin, segment.stability_score, segment.entropy)
        assert unknown == (None,) * 4
        assert segment.clip_agrees is segment.is_seen is None


def test_a_class_is_seen_where_the_training_names_are_known() -> None:
    teacher = Detector()
    teacher.card = replace(teacher.card, training_names=("cup", "dog"))
    (found,) = teacher([IMAGE])
    assert [s.is_seen for s in found.segments] == [True, False]


def test_the_calibration_maps_scores_and_leaves_the_unknown_iou_unknown() -> None:
    teacher = Detector()
    teacher.calibration = CalibrationConfig(presence=LogitMap(scale=1.0, shift=-14.0))
    (found,) = teacher([IMAGE])
    # The presence of a mask without IoU and void is 1, clipped at 1 - 1e-6: a logit of 13.816.
    presence = 1 / (1 + np.exp(14 - np.log((1 - 1e-6) / 1e-6)))
    assert found.segments[0].score == pytest.approx(0.9 * presence, rel=1e-3)
    assert found.segments[0].predicted_iou is None


def test_forms_hold_instances_and_a_class_for_every_pixel() -> None:
    (forms,) = Detector().forms([IMAGE])
    assert forms.class_indices.tolist() == [[0, 1, 1], [0, 1, 1]]
    assert [i.category_id for i in forms.instances] == [WORDS.classes[0].category_id]
    assert forms.instances[0].score == pytest.approx(0.9, abs=1e-5)


def test_an_image_without_masks_has_no_segments() -> None:
    def nothing(proposals: Proposals) -> Proposals:
        return replace(proposals, masks=proposals.masks.keep(torch.tensor([], dtype=torch.int64)))

    (found,) = Detector(nothing)([IMAGE])
    assert found.segments == ()
    assert not found.ids.any()


def with_masks(**changes: object) -> object:
    return lambda p: replace(p, masks=replace(p.masks, **changes))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_masks(class_probs=torch.full((2, 2), torch.nan)), "finite mask logits and prob"),
        (with_masks(class_probs=torch.full((2, 2), 1.5)), r"probabilities in \[0, 1\]"),
        (with_masks(void_probs=torch.full((2,), -0.5)), r"probabilities in \[0, 1\]"),
        (with_masks(mask_logits=torch.full((2, 2, 3), torch.inf)), "finite mask logits"),
        (with_masks(class_probs=torch.zeros(2, 3)), "2 masks x 2 classes .*, got 2 x 3"),
        (
            lambda p: replace(p, frame=Frame(canvas_hw=(9, 9), resized_hw=(9, 9), image_hw=(9, 9))),
            "an image of 2 x 3 pixels .*, got some for 9 x 9",
        ),
    ],
    ids=["NaN", "above 1", "below 0", "infinite", "another vocabulary", "another size"],
)
def test_output_that_cannot_be_merged_is_refused_in_words(change: object, said: str) -> None:
    with pytest.raises(TeacherError, match=f"{said}.*mend its propose"):
        Detector(change)([IMAGE])
    with pytest.raises(TeacherError, match="mend its propose"):
        try_teacher(Detector(change))


class Miscounting(Detector):
    def __init__(self, num: int) -> None:
        super().__init__()
        self.num = num

    def propose(self, images: Sequence[ndarray]) -> Iterable[Proposals]:
        return [left_and_all(IMAGE)] * self.num


@pytest.mark.parametrize(("num", "said"), [(1, "those of 1"), (3, "those of one more")])
def test_another_number_of_results_than_of_images_is_refused(num: int, said: str) -> None:
    with pytest.raises(TeacherError, match=f"masks of 2 images .*, got {said}"):
        Miscounting(num)([IMAGE, IMAGE])


@pytest.mark.parametrize(("given", "said"), [(None, "NoneType"), ([3], "int")])
def test_anything_but_proposals_is_refused(given: object, said: str) -> None:
    class Wrong(Detector):
        def propose(self, images: Sequence[ndarray]) -> Iterable[Proposals]:
            return given  # type: ignore[return-value]

    with pytest.raises(TeacherError, match=f"Proposals of each image .*, got {said}"):
        Wrong()([IMAGE])


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("no_such_module:load", "No module named 'no_such_module'"),
        ("json:no_such_function", "no_such_function"),
        ("operator:eq", "to return a possam_core.Teacher, got bool"),
    ],
)
def test_code_that_gives_no_teacher_is_refused_in_words(model: str, said: str) -> None:
    with pytest.raises(TeacherError, match=said):
        load_own_teacher(model, WORDS, device="cpu")


def test_a_teacher_of_ones_own_needs_a_vocabulary() -> None:
    with pytest.raises(TeacherError, match="expected a vocabulary for the model a:load"):
        load_own_teacher("a:load", None, device="cpu")
