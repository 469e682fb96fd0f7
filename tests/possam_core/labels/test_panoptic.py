"""Maps of 4 x 4 pixels, worked out by hand; the canvas is the image, so nothing is resized."""

import numpy as np
import pytest
import torch

from possam_core.errors import PossamError
from possam_core.labels.frame import Frame
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.panoptic import merge
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass
from tests.factories import make_panoptic, make_segment

VOCABULARY = Vocabulary(
    name="toy",
    classes=(
        VocabularyClass(category_id=10, name="ball", is_thing=True),
        VocabularyClass(category_id=20, name="grass", is_thing=False),
    ),
)
LEFT, RIGHT = np.zeros((2, 4, 4))
LEFT[:, :2] = 1
RIGHT[:, 2:] = 1
BALL, GRASS = (0.9, 0.1), (0.2, 0.8)


def make_masks(*masks: tuple[np.ndarray, tuple[float, float]], iou: float = 1.0) -> ScoredMasks:
    """Masks as sure logits, with class probabilities, no void."""
    return ScoredMasks(
        mask_logits=torch.tensor(np.stack([20.0 * m - 10.0 for m, _ in masks])).float(),
        class_probs=torch.tensor([p for _, p in masks]),
        void_probs=torch.zeros(len(masks)),
        iou_scores=torch.full((len(masks),), iou),
        clip_agrees=torch.ones(len(masks), dtype=torch.bool),
    )


def merge_toy(masks: ScoredMasks, **config: float) -> PanopticSegmentation:
    return merge(
        masks,
        VOCABULARY,
        MergeConfig(**config),
        is_seen=(True, False),
        frame=Frame(canvas_hw=(4, 4), resized_hw=(4, 4), image_hw=(4, 4)),
    )


def test_each_pixel_goes_to_the_mask_that_claims_it() -> None:
    result = merge_toy(make_masks((LEFT, BALL), (RIGHT, GRASS)))
    assert [(s.category_name, s.area_px, s.bbox_xywh) for s in result.segments] == [
        ("ball", 8, (0, 0, 2, 4)),
        ("grass", 8, (2, 0, 2, 4)),
    ]
    assert result.ids.tolist() == [[1, 1, 2, 2]] * 4
    assert result.segments[0].is_seen
    assert not result.segments[1].is_seen


def test_stuff_of_one_class_becomes_one_segment_and_things_stay_apart() -> None:
    stuff = merge_toy(make_masks((LEFT, GRASS), (RIGHT, GRASS)))
    things = merge_toy(make_masks((LEFT, BALL), (RIGHT, BALL)))
    assert [s.area_px for s in stuff.segments] == [16]
    assert [s.area_px for s in things.segments] == [8, 8]


def test_a_mask_that_loses_too_much_of_itself_is_dropped() -> None:
    everything = np.ones((4, 4))
    masks = make_masks((LEFT, BALL), (everything, GRASS))
    assert len(merge_toy(masks, overlap_threshold=0.5).segments) == 2
    kept = merge_toy(masks, overlap_threshold=0.6)
    assert [s.category_name for s in kept.segments] == ["ball"]
    assert (kept.ids[:, 2:] == 0).all()


def test_masks_below_the_threshold_are_left_out_and_nothing_may_remain() -> None:
    result = merge_toy(make_masks((LEFT, BALL)), object_threshold=0.95)
    assert result.segments == ()
    assert (result.ids == 0).all()


def test_the_predicted_iou_lowers_a_score_by_its_power_eta() -> None:
    masks = make_masks((LEFT, BALL), iou=0.5)
    scores = [merge_toy(masks, eta=eta).segments[0].score for eta in (0.0, 1.0)]
    assert scores == pytest.approx([0.9, 0.45])


def test_eta_zero_leaves_the_ranking_to_classes_alone() -> None:
    masks = make_masks((LEFT, BALL), (RIGHT, GRASS))
    weighed = ScoredMasks(
        mask_logits=masks.mask_logits,
        class_probs=masks.class_probs,
        void_probs=masks.void_probs,
        iou_scores=torch.tensor([0.1, 1.0]),
        clip_agrees=masks.clip_agrees,
    )
    assert weighed.scores(0.0).argsort().tolist() == masks.scores(0.0).argsort().tolist()
    assert weighed.scores(1.0).argsort().tolist() == [0, 1]


def test_the_padded_part_of_the_canvas_is_cut_off_before_resizing() -> None:
    masks = make_masks((np.vstack([np.ones((2, 4)), np.zeros((2, 4))]), BALL))
    result = merge(
        masks,
        VOCABULARY,
        MergeConfig(),
        is_seen=(True, False),
        frame=Frame(canvas_hw=(4, 4), resized_hw=(2, 4), image_hw=(6, 12)),
    )
    assert result.image_hw == (6, 12)
    assert result.segments[0].area_px >= 60  # all but the soft edge beside the padding


def test_a_segmentation_refuses_ids_that_do_not_agree() -> None:
    twice = (make_segment(), make_segment())
    with pytest.raises(PossamError, match="unique"):
        make_panoptic([[1, 1]], segments=twice)
    with pytest.raises(PossamError, match="the map holds ids"):
        make_panoptic([[1, 2]])
    stuff = (make_segment(is_thing=False), make_segment(id=2, is_thing=False))
    with pytest.raises(PossamError, match="one segment"):
        make_panoptic([[1, 2]], segments=stuff)
