"""Losses worked out by hand on masks of 4 cells."""

import math

import pytest
import torch

from possam_core.mask_decoder import MaskPrediction
from possam_core.model import MaskClassification
from possam_core.training.losses import LossWeights, Targets, mask_ious, match, possam_loss

SURE = 20.0  # a logit whose sigmoid is one to float precision
ALL_VALID = torch.ones(4, dtype=torch.bool)
TWO_SEGMENTS = Targets(
    masks=torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]), classes=torch.tensor([0, 1])
)


def make_layer(mask_logits: torch.Tensor, class_logits: torch.Tensor) -> MaskClassification:
    """One image, masks on a 2 x 2 grid."""
    queries = len(mask_logits)
    prediction = MaskPrediction(
        queries=torch.zeros(1, queries, 3),
        mask_logits=mask_logits.reshape(1, queries, 2, 2),
        iou_logits=torch.zeros(1, queries),
    )
    return MaskClassification(
        prediction,
        class_logits[None],
        torch.zeros(1, queries, 3),
        torch.ones(1, queries, dtype=torch.bool),
    )


def perfect() -> MaskClassification:
    """Query 0 finds segment 1, query 1 nothing, query 2 segment 0."""
    masks = SURE * torch.tensor([[-1.0, -1, 1, 1], [-1, -1, -1, -1], [1, 1, -1, -1]])
    return make_layer(masks, SURE * torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]))


def test_matching_pairs_each_segment_with_the_query_that_found_it() -> None:
    layer = perfect()
    queries, segments = match(
        layer.prediction.mask_logits[0].flatten(1),
        layer.class_logits[0],
        TWO_SEGMENTS,
        ALL_VALID,
        LossWeights(),
    )
    assert dict(zip(queries.tolist(), segments.tolist(), strict=True)) == {0: 1, 2: 0}


def test_a_perfect_prediction_costs_only_its_iou_estimate() -> None:
    losses = possam_loss([perfect()], [TWO_SEGMENTS], ALL_VALID[None], LossWeights())
    assert losses.terms["class"] == pytest.approx(0, abs=1e-6)
    assert losses.terms["bce"] == pytest.approx(0, abs=1e-6)
    assert losses.terms["dice"] == pytest.approx(0, abs=1e-6)
    assert losses.terms["iou"] == pytest.approx(0.25)  # it says one half where the truth is one


def test_an_undecided_mask_costs_ln_2_and_half_its_dice() -> None:
    layer = make_layer(torch.zeros(1, 4), torch.zeros(1, 2))
    one = Targets(masks=torch.tensor([[1.0, 1.0, 0.0, 0.0]]), classes=torch.tensor([0]))
    terms = possam_loss([layer], [one], ALL_VALID[None], LossWeights()).terms
    assert terms["class"] == pytest.approx(math.log(2))
    assert terms["bce"] == pytest.approx(math.log(2))
    assert terms["dice"] == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))


def test_cells_in_the_padding_do_not_count() -> None:
    valid = torch.tensor([[True, True, False, False]])
    masks = SURE * torch.tensor([[1.0, 1.0, 1.0, -1.0]])
    one = Targets(masks=torch.tensor([[1.0, 1.0, 0.0, 0.0]]), classes=torch.tensor([0]))
    layer = make_layer(masks, torch.tensor([[SURE, 0.0]]))
    terms = possam_loss([layer], [one], valid, LossWeights()).terms
    assert terms["bce"] == pytest.approx(0, abs=1e-6)
    assert terms["dice"] == pytest.approx(0, abs=1e-6)


def test_void_queries_weigh_a_tenth() -> None:
    layer = make_layer(torch.full((2, 4), -SURE), torch.zeros(2, 2))
    one = Targets(masks=torch.tensor([[1.0, 0.0, 0.0, 0.0]]), classes=torch.tensor([0]))
    nearly_right = layer.class_logits.clone()
    nearly_right[0, :, 0] = 1.0  # both queries lean to class 0; one is void in truth
    leaning = MaskClassification(
        layer.prediction, nearly_right, layer.clip_embeddings, layer.has_clip
    )
    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    terms = possam_loss([leaning], [one], ALL_VALID[None], LossWeights()).terms
    assert terms["class"] == pytest.approx((right + 0.1 * wrong) / 1.1, rel=1e-5)


def test_deep_supervision_adds_every_layer() -> None:
    once = possam_loss([perfect()], [TWO_SEGMENTS], ALL_VALID[None], LossWeights(iou=0.0))
    blind = make_layer(torch.zeros(3, 4), torch.zeros(3, 3))
    both = possam_loss([blind, perfect()], [TWO_SEGMENTS], ALL_VALID[None], LossWeights(iou=0.0))
    alone = possam_loss([blind], [TWO_SEGMENTS], ALL_VALID[None], LossWeights(iou=0.0))
    assert float(both.total) == pytest.approx(float(once.total) + float(alone.total))


def test_an_image_without_segments_is_all_void() -> None:
    none = Targets(masks=torch.zeros(0, 4), classes=torch.zeros(0, dtype=torch.long))
    losses = possam_loss([perfect()], [none], ALL_VALID[None], LossWeights())
    assert losses.total.isfinite()
    assert losses.terms["bce"] == 0


def test_mask_ious_cut_at_zero_and_half_a_cell() -> None:
    logits = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    truth = torch.tensor([[0.9, 0.1, 0.9, 0.1]])
    assert mask_ious(logits, truth, ALL_VALID[None]).tolist() == pytest.approx([1 / 3])
