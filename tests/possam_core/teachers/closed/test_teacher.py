"""Real networks of transformers, tiny, label by our merge; and masks land where they belong."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from possam_core.checkpoints.card import TeacherCard
from possam_core.labels.merge_config import MergeConfig
from possam_core.predictor import load_teacher
from possam_core.teachers.closed.image_input import ImageInput
from possam_core.teachers.closed.teacher import ClosedTeacher
from possam_core.vocabulary.builtin import find_vocabulary
from possam_core.vocabulary.vocabulary import Vocabulary
from tests.closed_models import MODEL_TYPES, NUM_QUERIES, write_model

CITYSCAPES = find_vocabulary("cityscapes")
NAMES = [entry.name for entry in CITYSCAPES.classes]
THREE = Vocabulary.from_records(
    "three",
    [
        {"name": "sky", "kind": "stuff"},
        {"name": "person", "kind": "thing"},
        {"name": "dog", "kind": "thing"},
    ],
)
PADDED = ImageInput(  # as EoMT's
    sides=(64, 64),
    is_stretched=False,
    multiple=1,
    square=64,
    mean=(0.0, 0.0, 0.0),
    std=(255.0, 255.0, 255.0),
)
STRETCHED = ImageInput(  # as Mask2Former's
    sides=(48, 96),
    is_stretched=False,
    multiple=32,
    square=None,
    mean=(0.0, 0.0, 0.0),
    std=(255.0, 255.0, 255.0),
)


class Answers(nn.Module):
    """In the place of a network: masks and class logits that a function makes of the pixels."""

    def __init__(self, answer: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.answer = answer
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        masks, logits = self.answer(pixel_values)
        return SimpleNamespace(masks_queries_logits=masks, class_queries_logits=logits)


def closed(
    answer: Callable[[Tensor], tuple[Tensor, Tensor]], image_input: ImageInput
) -> ClosedTeacher:
    card = TeacherCard(name="answers", fingerprint="1", vocabulary=THREE, is_closed=True)
    return ClosedTeacher(Answers(answer), THREE, card, outputs=(0, 1, 2), image_input=image_input)


def class_logits(*classes: int, prob: float = 0.9) -> Tensor:
    """Of one image: each class with `prob`, the others and void share the rest."""
    probs = torch.full((len(classes), len(THREE) + 1), (1 - prob) / len(THREE))
    probs[torch.arange(len(classes)), torch.tensor(classes)] = prob
    return probs.log()[None]


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_folder_of_the_library_labels_images_of_any_size(model_type: str, tmp_path: Path) -> None:
    teacher = load_teacher(str(write_model(tmp_path / model_type, model_type, NAMES)))
    images = [photograph(40, 90), photograph(90, 40, seed=1), photograph(200, 200, seed=2)]
    labelled = teacher(images)
    assert [s.image_hw for s in labelled] == [(40, 90), (90, 40), (200, 200)]
    (alone,) = teacher(images[1:2])
    assert np.array_equal(alone.ids, labelled[1].ids)
    for segment in (s for segmentation in labelled for s in segmentation.segments):
        assert segment.predicted_iou is None
        assert segment.clip_agrees is None
        assert segment.is_seen is True
        assert segment.score > 0.8
    with torch.inference_mode():
        (proposals,) = teacher.propose(images[:1])
    masks = proposals.masks
    assert masks.class_probs.shape == (NUM_QUERIES, 19)
    assert masks.class_probs.sum(dim=-1).allclose(torch.ones(NUM_QUERIES))


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_class_probabilities_follow_the_vocabulary_in_any_order_and_spelling(
    model_type: str, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / model_type, model_type, NAMES)
    turned = Vocabulary.from_records("turned", CITYSCAPES.to_records()[::-1])
    image = photograph(50, 70)
    with torch.inference_mode():
        (own,) = load_teacher(str(folder)).propose([image])
        (other,) = load_teacher(str(folder), turned).propose([image])
    assert own.masks.class_probs.flip(-1).equal(other.masks.class_probs)
    assert own.masks.void_probs.equal(other.masks.void_probs)
    present = 1 - own.masks.void_probs
    scores = own.masks.scores(1.0)
    assert scores.allclose(present * own.masks.class_probs.amax(dim=-1))


def test_the_parts_of_the_library_s_own_panoptic_labels_are_ours(tmp_path: Path) -> None:
    """Its post-processing of EoMT is right where it says which classes are stuff."""
    from transformers import EomtImageProcessor

    teacher = load_teacher(str(write_model(tmp_path / "eomt", "eomt", NAMES)))
    assert isinstance(teacher, ClosedTeacher)
    teacher.merging = MergeConfig(rules="mask2former", object_threshold=0.5, overlap_threshold=0.3)
    image = photograph(60, 90)
    batch = teacher.image_input.make_batch([image])
    pixels = batch.pixels.float()
    processor = EomtImageProcessor.from_pretrained(tmp_path / "eomt")
    with torch.inference_mode():
        mean, std = (
            torch.tensor(v)[:, None, None]
            for v in (teacher.image_input.mean, teacher.image_input.std)
        )
        result = teacher.network(pixel_values=(pixels - mean) / std)
        theirs = processor.post_process_panoptic_segmentation(
            result,
            target_sizes=[(60, 90)],
            threshold=0.5,
            overlap_mask_area_threshold=0.3,
            stuff_classes=[i for i, c in enumerate(CITYSCAPES.classes) if not c.is_thing],
        )[0]
    (ours,) = teacher([image])
    assert len(ours.segments) >= 2
    assert np.array_equal(ours.ids, theirs["segmentation"].numpy() + 1)
    assert [s.class_index for s in ours.segments] == [
        s["label_id"] for s in theirs["segments_info"]
    ]


def test_two_strips_of_sky_are_one_segment_and_two_things_are_two() -> None:
    """Four strips: sky, person, sky, dog; the library's Mask2Former gives 1 2 1 2."""

    def answer(pixels: Tensor) -> tuple[Tensor, Tensor]:
        masks = torch.full((1, 4, 64, 64), -10.0)
        for strip in range(4):
            masks[:, strip, :, 16 * strip : 16 * (strip + 1)] = 10.0
        return masks, class_logits(0, 1, 0, 2)

    (labelled,) = closed(answer, PADDED)([photograph(64, 64)])
    assert [int(labelled.ids[32, 8 + 16 * strip]) for strip in range(4)] == [1, 2, 1, 3]
    assert [s.category_name for s in labelled.segments] == ["sky", "person", "dog"]
    assert [round(s.score, 5) for s in labelled.segments] == [0.9, 0.9, 0.9]


def test_what_is_in_no_mask_or_below_the_threshold_is_void() -> None:
    def answer(pixels: Tensor) -> tuple[Tensor, Tensor]:
        masks = torch.full((1, 2, 64, 64), -10.0)
        masks[:, 0, :, :32] = 10.0
        masks[:, 1, :, 32:48] = 10.0
        return masks, torch.cat([class_logits(1), class_logits(2, prob=0.75)], dim=1)

    (labelled,) = closed(answer, PADDED)([photograph(64, 64)])
    assert (labelled.ids[:, :32] == 1).all()
    assert (labelled.ids[:, 32:] == 0).all()


@pytest.mark.parametrize("image_input", [PADDED, STRETCHED], ids=["padded", "stretched"])
@pytest.mark.parametrize("image_hw", [(300, 500), (500, 300), (80, 80), (37, 23)])
def test_a_mask_lands_on_the_pixels_that_it_was_seen_at(
    image_input: ImageInput, image_hw: tuple[int, int]
) -> None:
    def answer(pixels: Tensor) -> tuple[Tensor, Tensor]:
        grid_hw = (pixels.shape[-2] // 4, pixels.shape[-1] // 4)
        white = functional.interpolate(pixels, size=grid_hw, mode="area").mean(dim=1)  # (B, h, w)
        return 20 * (white[:, None] - 0.5), class_logits(2)

    height, width = image_hw
    image = np.zeros((height, width, 3), np.uint8)
    truth = np.zeros(image_hw, bool)
    truth[height // 4 : 3 * height // 4, width // 2 : 7 * width // 8] = True
    image[truth] = 255
    (labelled,) = closed(answer, image_input)([image])
    found = labelled.ids == 1
    cells = max(image_hw) / 16 if image_input.square else min(image_hw) / 16
    rim = 0.5 * cells * 2 * (height // 2 + 3 * width // 8)  # half a cell around the rectangle
    assert (found != truth).sum() <= rim
    rows, columns = np.nonzero(found)
    middle = (rows.mean() - (height / 2 - 0.5), columns.mean() - (11 * width / 16 - 0.5))
    assert max(map(abs, middle)) <= 0.2 * cells + 0.5
