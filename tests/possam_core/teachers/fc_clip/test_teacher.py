"""FC-CLIP, small, as a teacher: images in, masks with probabilities out."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from possam_core.checkpoints.card import TeacherCard
from possam_core.errors import ConfigError, PossamError
from possam_core.images.batch import make_shortest_edge_batch
from possam_core.teachers.fc_clip.scoring import FcClipScoring
from possam_core.teachers.fc_clip.teacher import (
    FC_CLIP_INFERENCE,
    OVRCOAT_INFERENCE,
    FcClipInference,
    FcClipTeacher,
)
from possam_core.teachers.teacher import Proposals
from tests.fc_clip_reference import SMALL, SMALL_REFERENCES, picture

REFERENCES = np.load(SMALL_REFERENCES)
IMAGES = [picture(*shape) for shape in SMALL.pictures]
SIDES = {"short_side": SMALL.short_side, "long_side": SMALL.long_side}
network = cache(SMALL.network)


def make_teacher(
    inference: FcClipInference = FC_CLIP_INFERENCE, *, training_names: tuple[str, ...] | None = None
) -> FcClipTeacher:
    """The reference network; without names, trained on those that are seen in the references."""
    if training_names is None:
        seen = zip(SMALL.vocabulary.classes, REFERENCES["is_seen"], strict=True)
        training_names = tuple(entry.name for entry, is_seen in seen if is_seen)
    card = TeacherCard(name="fc-clip", fingerprint="small", training_names=training_names)
    return FcClipTeacher(network(), SMALL.vocabulary, card, inference=replace(inference, **SIDES))


def propose(teacher: FcClipTeacher, images: list[np.ndarray]) -> list[Proposals]:
    with torch.inference_mode():
        return list(teacher.propose(images))


def test_masks_of_images_of_any_sizes_have_the_probabilities_of_the_references() -> None:
    proposals = propose(make_teacher(), IMAGES)
    for i, proposed in enumerate(proposals):
        masks = proposed.masks
        theirs = torch.from_numpy(REFERENCES[f"{i}/class_log_probs"]).exp() - 1e-8
        present = 1 - masks.void_probs[:, None]
        assert (masks.class_probs * present - theirs[:, :-1]).abs().max() <= 1e-5
        assert (masks.void_probs - theirs[:, -1]).abs().max() <= 1e-5
        assert masks.iou_scores is None
        own = REFERENCES[f"{i}/class_logits"][:, :-1].argmax(axis=-1)
        clips = REFERENCES[f"{i}/clip_logits"][:, :-1].argmax(axis=-1)
        assert masks.clip_agrees is not None
        assert masks.clip_agrees.tolist() == (own == clips).tolist()
    assert [p.frame.canvas_hw for p in proposals] == [(96, 160), (160, 96)]
    assert [p.frame.resized_hw for p in proposals] == [(96, 132), (160, 67)]
    assert [p.frame.image_hw for p in proposals] == [(70, 96), (120, 50)]


def test_images_of_one_padded_size_may_share_a_batch() -> None:
    teacher = make_teacher()
    images = [IMAGES[0], picture(70, 96, 5)]
    with torch.inference_mode():
        together = teacher.score(make_shortest_edge_batch(images, multiple=32, **SIDES))
    for masks, alone in zip(together, propose(teacher, images), strict=True):
        torch.testing.assert_close(masks.class_probs, alone.masks.class_probs, rtol=0, atol=1e-4)


def test_classes_are_unseen_where_the_training_names_are_not_known() -> None:
    card = TeacherCard(name="fc-clip", fingerprint="small")
    unknown = FcClipTeacher(
        network(), SMALL.vocabulary, card, inference=replace(FC_CLIP_INFERENCE, **SIDES)
    )
    (nothing_seen,) = propose(make_teacher(training_names=()), IMAGES[:1])
    (proposed,) = propose(unknown, IMAGES[:1])
    assert torch.equal(proposed.masks.class_probs, nothing_seen.masks.class_probs)


def test_as_ovrcoat_only_void_and_the_overlap_differ() -> None:
    teacher, ovrcoat = make_teacher(), make_teacher(OVRCOAT_INFERENCE)
    (usual,), (other,) = propose(teacher, IMAGES[:1]), propose(ovrcoat, IMAGES[:1])
    clip_logits = torch.from_numpy(REFERENCES["0/clip_logits"][:, :-1])
    surest = clip_logits.softmax(dim=-1).amax(dim=-1)
    expected = usual.masks.void_probs * (1 - 0.5 * surest)
    torch.testing.assert_close(other.masks.void_probs, expected, rtol=0, atol=1e-5)
    assert torch.equal(usual.masks.class_probs, other.masks.class_probs)
    assert (teacher.merging.overlap_threshold, ovrcoat.merging.overlap_threshold) == (0.8, 0.7)


@pytest.mark.parametrize(
    ("name", "scoring"),
    [
        ("", FcClipScoring()),
        ("trained_alone/", FcClipScoring(alpha=0.0, beta=0.0)),
        ("clip_alone/", FcClipScoring(alpha=1.0, beta=1.0)),
        ("valid_mask/", FcClipScoring(counts_empty_masks=False)),
    ],
)
def test_its_labels_are_those_of_the_references(name: str, scoring: FcClipScoring) -> None:
    teacher = make_teacher(replace(FC_CLIP_INFERENCE, scoring=scoring))
    for i, forms in enumerate(teacher.forms(IMAGES)):
        segments = forms.panoptic.segments
        ours = class_and_mask([(s.id, s.class_index) for s in segments], forms.panoptic.ids)
        theirs = REFERENCES[f"{i}/{name}segments"]  # id, is thing, class
        expected = class_and_mask(
            [(int(s[0]), int(s[2])) for s in theirs], REFERENCES[f"{i}/{name}panoptic_ids"]
        )
        assert ours == expected
        semantic = REFERENCES[f"{i}/{name}semantic_classes"]
        assert (forms.class_indices == semantic).mean() >= 0.999
        assert {s.predicted_iou for s in segments} <= {None}


def class_and_mask(segments: list[tuple[int, int]], ids: np.ndarray) -> set[tuple[int, bytes]]:
    """Each segment's class and pixels; how segments are numbered does not count."""
    return {(class_index, (ids == number).tobytes()) for number, class_index in segments}


def test_impossible_input_is_refused() -> None:
    with pytest.raises(PossamError, match="at least one image"):
        propose(make_teacher(), [])
    with pytest.raises(ConfigError, match="short_side must be at least 1, got 0"):
        FcClipInference(short_side=0)
