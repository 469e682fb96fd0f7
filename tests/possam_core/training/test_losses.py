"""Losses worked out by hand on masks of 4 cells."""

import math

import pytest
import torch

from possam_core.decoder.mask_decoder import MaskPrediction
from possam_core.errors import ConfigError
from possam_core.model import MaskClassification
from possam_core.training.loss_config import LossConfig
from possam_core.training.losses import BatchTotals, Truth, mask_ious, possam_loss
from possam_core.training.matching import Targets, match
from possam_core.training.points import PointSampler

SURE = 20.0  # a logit whose sigmoid is one to float precision
ALL_VALID = torch.ones(4, dtype=torch.bool)


def segments(*masks: list[float], classes: list[int]) -> Targets:
    """Of one image."""
    cells = torch.tensor(masks).reshape(-1, 4)
    return Targets.stack([cells], [torch.tensor(classes, dtype=torch.long)])


TWO_SEGMENTS = segments([1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], classes=[0, 1])


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


def test_matching_pairs_each_segment_with_its_query() -> None:
    layer = perfect()
    matches = match(
        layer.prediction.mask_logits.flatten(2),
        layer.class_logits,
        TWO_SEGMENTS,
        ALL_VALID[None],
        LossConfig(),
    )
    assert matches.images.tolist() == [0, 0]
    found = zip(matches.queries.tolist(), matches.segments.tolist(), strict=True)
    assert dict(found) == {0: 1, 2: 0}


def test_a_perfect_prediction_costs_only_its_iou_estimate() -> None:
    losses = possam_loss([perfect()], Truth(TWO_SEGMENTS, ALL_VALID[None]), LossConfig())
    assert losses.terms["class"] == pytest.approx(0, abs=1e-6)
    assert losses.terms["bce"] == pytest.approx(0, abs=1e-6)
    assert losses.terms["dice"] == pytest.approx(0, abs=1e-6)
    assert losses.terms["iou"] == pytest.approx(0.25)  # estimated 0.5, true IoU 1


def test_an_undecided_mask_costs_ln_2_and_half_its_dice() -> None:
    layer = make_layer(torch.zeros(1, 4), torch.zeros(1, 2))
    one = segments([1.0, 1.0, 0.0, 0.0], classes=[0])
    terms = possam_loss([layer], Truth(one, ALL_VALID[None]), LossConfig()).terms
    assert terms["class"] == pytest.approx(math.log(2))
    assert terms["bce"] == pytest.approx(math.log(2))
    assert terms["dice"] == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))


def test_cells_in_the_padding_do_not_count() -> None:
    valid = torch.tensor([[True, True, False, False]])
    masks = SURE * torch.tensor([[1.0, 1.0, 1.0, -1.0]])
    one = segments([1.0, 1.0, 0.0, 0.0], classes=[0])
    layer = make_layer(masks, torch.tensor([[SURE, 0.0]]))
    terms = possam_loss([layer], Truth(one, valid), LossConfig()).terms
    assert terms["bce"] == pytest.approx(0, abs=1e-6)
    assert terms["dice"] == pytest.approx(0, abs=1e-6)


def test_void_queries_weigh_a_tenth() -> None:
    layer = make_layer(torch.full((2, 4), -SURE), torch.zeros(2, 2))
    one = segments([1.0, 0.0, 0.0, 0.0], classes=[0])
    nearly_right = layer.class_logits.clone()
    nearly_right[0, :, 0] = 1.0  # both queries lean to class 0; one is void in truth
    leaning = MaskClassification(
        layer.prediction, nearly_right, layer.clip_embeddings, layer.has_clip
    )
    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    terms = possam_loss([leaning], Truth(one, ALL_VALID[None]), LossConfig()).terms
    assert terms["class"] == pytest.approx((right + 0.1 * wrong) / 1.1, rel=1e-5)


def test_deep_supervision_adds_every_layer() -> None:
    once = possam_loss([perfect()], Truth(TWO_SEGMENTS, ALL_VALID[None]), LossConfig(iou=0.0))
    blind = make_layer(torch.zeros(3, 4), torch.zeros(3, 3))
    both = possam_loss(
        [blind, perfect()], Truth(TWO_SEGMENTS, ALL_VALID[None]), LossConfig(iou=0.0)
    )
    alone = possam_loss([blind], Truth(TWO_SEGMENTS, ALL_VALID[None]), LossConfig(iou=0.0))
    assert float(both.total) == pytest.approx(float(once.total) + float(alone.total))


def test_an_image_without_segments_is_all_void() -> None:
    none = segments(classes=[])
    losses = possam_loss([perfect()], Truth(none, ALL_VALID[None]), LossConfig())
    assert losses.total.isfinite()
    assert losses.terms["bce"] == 0


def test_mask_ious_cut_at_zero_and_half_a_cell() -> None:
    logits = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    truth = torch.tensor([[0.9, 0.1, 0.9, 0.1]])
    assert mask_ious(logits, truth, ALL_VALID[None]).tolist() == pytest.approx([1 / 3])


def test_parts_of_a_batch_add_up_to_its_losses() -> None:
    other = make_layer(torch.tensor([[3.0, -1, 0, 0], [0, 1, 2, 0], [0, 0, 0, 0]]), torch.eye(3))
    one = segments([0.0, 1.0, 1.0, 0.0], classes=[1])
    layers = [perfect(), other]
    targets = [TWO_SEGMENTS, one]
    together = Targets.stack(
        [TWO_SEGMENTS.masks[0], one.masks[0]], [TWO_SEGMENTS.classes[0], one.classes[0]]
    )
    totals = BatchTotals.count([2, 1], num_queries=3, void=0.1)
    assert totals == BatchTotals(num_masks=3, class_weight=3 + 0.1 * 3)
    parts = [
        possam_loss([layer], Truth(target, ALL_VALID[None], totals), LossConfig())
        for layer, target in zip(layers, targets, strict=True)
    ]
    prediction = MaskPrediction(
        *(
            torch.cat([getattr(layer.prediction, name) for layer in layers])
            for name in ("queries", "mask_logits", "iou_logits")
        )
    )
    both = MaskClassification(
        prediction,
        *(
            torch.cat([getattr(layer, name) for layer in layers])
            for name in ("class_logits", "clip_embeddings", "has_clip")
        ),
    )
    whole = possam_loss([both], Truth(together, ALL_VALID.expand(2, -1)), LossConfig())
    assert sum(float(part.total) for part in parts) == pytest.approx(float(whole.total), rel=1e-6)
    for name, value in whole.terms.items():
        assert sum(part.terms[name] for part in parts) == pytest.approx(value, rel=1e-6)


def test_non_finite_logits_are_still_matched() -> None:
    layer = make_layer(torch.full((3, 4), torch.nan), torch.full((3, 3), torch.nan))
    losses = possam_loss([layer], Truth(TWO_SEGMENTS, ALL_VALID[None]), LossConfig())
    assert losses.total.isnan()


def at_points(ids: list[list[int]]) -> PointSampler:
    return PointSampler(torch.tensor([ids]), [(2, 2)], [5], num_points=8)


def test_at_points_a_mask_that_is_right_everywhere_costs_nothing() -> None:
    whole = segments([1.0] * 4, classes=[0])
    layer = make_layer(torch.full((2, 4), SURE) * torch.tensor([[1.0], [-1.0]]), torch.zeros(2, 2))
    truth = Truth(whole, ALL_VALID[None], points=at_points([[1, 1], [1, 1]]))
    terms = possam_loss([layer], truth, LossConfig()).terms
    assert terms["bce"] == pytest.approx(0, abs=1e-6)
    assert terms["dice"] == pytest.approx(0, abs=1e-6)
    assert terms["iou"] == pytest.approx(0.25)  # on the whole grid: estimated 0.5


def test_at_points_an_undecided_mask_costs_ln_2_and_its_dice() -> None:
    whole = segments([1.0] * 4, classes=[0])
    layer = make_layer(torch.zeros(1, 4), torch.zeros(1, 2))
    truth = Truth(whole, ALL_VALID[None], points=at_points([[1, 1], [1, 1]]))
    terms = possam_loss([layer], truth, LossConfig()).terms
    assert terms["bce"] == pytest.approx(math.log(2))
    assert terms["dice"] == pytest.approx(1 - (2 * 4 + 1) / (4 + 8 + 1))  # of 8 points


def test_at_points_an_image_without_segments_is_all_void() -> None:
    none = segments(classes=[])
    truth = Truth(none, ALL_VALID[None], points=at_points([[0, 0], [0, 0]]))
    losses = possam_loss([perfect()], truth, LossConfig())
    assert losses.total.isfinite()
    assert losses.terms["bce"] == 0


def test_negative_weights_and_no_points_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss\.dice must be 0 to .*, got -1.*loss\.num_points"):
        LossConfig(dice=-1.0, num_points=0)
