"""Probabilities from the two classifications, worked out by hand."""

import pytest
import torch
from torch import Tensor

from possam_core.decoder.mask_decoder import MaskPrediction
from possam_core.errors import ConfigError
from possam_core.model import MaskClassification
from possam_core.teachers.fc_clip.scoring import (
    OVRCOAT_SCORING,
    FcClipScores,
    FcClipScoring,
    score_masks,
)


def score(
    own: list[float], clip: list[float], *, has_clip: bool = True, scoring: FcClipScoring
) -> FcClipScores:
    """One mask, its own probabilities (void last) and CLIP's; the first class is seen."""
    empty = MaskPrediction(torch.zeros(1, 1, 4), torch.zeros(1, 1, 2, 2), None)
    result = MaskClassification(
        empty, torch.tensor([[own]]).log(), torch.zeros(1, 1, 4), torch.tensor([[has_clip]])
    )
    seen = torch.tensor([True] + [False] * (len(clip) - 1))
    return score_masks(result, torch.tensor([[clip]]).log(), seen, scoring)


def assert_close(ours: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(ours.flatten(), torch.tensor(expected))


def test_clip_weighs_more_for_classes_that_training_has_not_seen() -> None:
    scores = score([0.4, 0.1, 0.5], [0.5, 0.5], scoring=FcClipScoring())
    seen, unseen = 0.8**0.6 * 0.5**0.4, 0.2**0.2 * 0.5**0.8
    assert_close(scores.class_probs, [seen / (seen + unseen), unseen / (seen + unseen)])
    assert_close(scores.void_probs, [0.5])


def test_a_mask_without_cells_on_clips_map_is_judged_by_both_or_by_the_head_alone() -> None:
    judged = FcClipScoring(alpha=1.0, beta=1.0)
    by_clip = score([0.4, 0.1, 0.5], [0.3, 0.7], has_clip=False, scoring=judged)
    assert_close(by_clip.class_probs, [0.3, 0.7])
    judged = FcClipScoring(alpha=1.0, beta=1.0, counts_empty_masks=False)
    by_head = score([0.4, 0.1, 0.5], [0.3, 0.7], has_clip=False, scoring=judged)
    assert_close(by_head.class_probs, [0.8, 0.2])


def test_ovrcoats_void_counts_less_where_clip_is_sure() -> None:
    scores = score([0.2, 0.2, 0.6], [0.9, 0.1], scoring=OVRCOAT_SCORING)
    assert_close(scores.void_probs, [0.6 * (1 - 0.5 * 0.9)])


def test_clip_agrees_where_both_name_the_same_class() -> None:
    assert score([0.4, 0.1, 0.5], [0.6, 0.4], scoring=FcClipScoring()).clip_agrees.all()
    assert not score([0.4, 0.1, 0.5], [0.4, 0.6], scoring=FcClipScoring()).clip_agrees.any()


def test_a_class_that_one_of_them_rules_out_leaves_finite_probabilities() -> None:
    scores = score([0.5, 0.0, 0.5], [1e-30, 1.0], scoring=FcClipScoring())
    assert scores.class_probs.isfinite().all()


def test_weights_beyond_their_bounds_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"scoring.void_discount"):
        FcClipScoring(void_discount=1.5)
