"""Losses of the mask stage: class, mask BCE, dice, IoU (docs/method.md 6).

All in float32. Masks are compared densely on the mask grid, where the truth is the share of each
cell that a segment covers, or at points.

Axes: L layers, B images, Q mask queries, M true segments of an image, padded with empty ones,
m matched masks of all images together, K classes, P cells of the mask grid or points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from possam_core.model import MaskClassification
from possam_core.training.loss_config import LossConfig
from possam_core.training.matching import LayerMatches, Matches, Targets, assign, matching_costs
from possam_core.training.points import Draws, PointSampler, sample_maps


@dataclass(frozen=True, slots=True)
class BatchTotals:
    """Divisors of the loss terms of a whole batch, known before the forward pass.

    Dividing each part of a batch by them makes the losses of the parts add up to the batch's.
    """

    num_masks: float
    class_weight: float  # of all queries together

    @classmethod
    def count(cls, num_segments: Sequence[int], num_queries: int, void: float) -> "BatchTotals":
        """Totals of images with `num_segments` true segments each."""
        matched = sum(min(n, num_queries) for n in num_segments)
        unmatched = num_queries * len(num_segments) - matched
        return cls(float(sum(num_segments)), matched + void * unmatched)


@dataclass(frozen=True, slots=True)
class Truth:
    """The ground truth of the losses."""

    targets: Targets
    valid: Bool[Tensor, "B P"]  # cells of the mask grid that are not padding
    totals: BatchTotals | None = None  # None: those of `targets` themselves
    points: PointSampler | None = None  # None: compare on the whole grid


@dataclass(frozen=True, slots=True)
class Losses:
    """Weighted sum for the optimiser, and the last layer's terms for the log."""

    total: Tensor
    terms: dict[str, float]


def possam_loss(layers: list[MaskClassification], truth: Truth, config: LossConfig) -> Losses:
    """Match each layer on its own, and sum the losses of all (deep supervision).

    The IoU loss is on the last layer alone. The host waits for the device twice: for the costs of
    all matchings, and for the terms of the log.
    """
    own = BatchTotals.count(
        truth.targets.num_segments, layers[0].class_logits.shape[1], config.void
    )
    totals = truth.totals or own
    num_masks = max(1, totals.num_masks)
    draws = _draw(layers, truth)
    matches = _match_layers(layers, truth, draws, config)
    class_losses = _class_losses(layers, truth.targets, matches, config) / totals.class_weight
    chosen = _chosen_maps(layers, matches)
    mask_losses, dice_losses = _mask_losses(_matched(chosen, truth, matches, draws), num_masks)
    last = matches.layer(-1)
    cells = _matched_cells(chosen[-1].detach().flatten(1), truth, last)
    iou_loss = _iou_loss(layers[-1], cells, last) / num_masks
    total = config.classes * class_losses.sum() + config.iou * iou_loss
    total = total + config.mask_bce * mask_losses.sum() + config.dice * dice_losses.sum()
    shown = torch.stack([class_losses[-1], mask_losses[-1], dice_losses[-1], iou_loss])
    terms = dict(zip(("class", "bce", "dice", "iou"), shown.detach().tolist(), strict=True))
    return Losses(total, terms)


def mask_ious(
    mask_logits: Float[Tensor, "m P"], truth: Float[Tensor, "m P"], valid: Bool[Tensor, "m P"]
) -> Float[Tensor, " m"]:
    """IoU of each mask, cut at zero, with its true segment, cut at half a cell."""
    masks, segments = (mask_logits > 0) & valid, (truth > 0.5) & valid
    union = (masks | segments).sum(dim=-1).clamp(min=1)
    return (masks & segments).sum(dim=-1) / union


@dataclass(frozen=True, slots=True)
class _Matched:
    """Matched masks of all images beside their true segments."""

    logits: Float[Tensor, "*L m P"]
    truth: Float[Tensor, "*L m P"]
    valid: Float[Tensor, "*L m P"]  # 1 where a cell counts


def _draw(layers: list[MaskClassification], truth: Truth) -> Draws | None:
    """As many masks are matched as an image has segments, or queries if these are fewer."""
    if truth.points is None:
        return None
    num_queries = layers[0].class_logits.shape[1]
    counts = [min(n, num_queries) for n in truth.targets.num_segments]
    return truth.points.draw(len(layers), counts)


@torch.no_grad()
def _match_layers(
    layers: list[MaskClassification], truth: Truth, draws: Draws | None, config: LossConfig
) -> LayerMatches:
    """The costs are computed layer by layer, for each takes the memory of several masks' maps."""
    costs = []
    targets, valid = truth.targets, truth.valid
    for index, layer in enumerate(layers):
        maps = layer.prediction.mask_logits.float()  # (B, Q, h, w)
        logits = maps.flatten(2)
        if truth.points and draws:
            points = draws.everywhere[index]  # (B, P, 2)
            logits = sample_maps(maps, points)
            images = torch.arange(len(maps), device=maps.device)
            ids = torch.arange(1, targets.classes.shape[1] + 1, device=maps.device)
            found = truth.points.found(images, points).unsqueeze(1)  # (B, 1, P)
            targets = replace(targets, masks=(found == ids[:, None]).float())
            valid = torch.ones_like(logits[:, 0], dtype=torch.bool)
        costs.append(matching_costs(logits, layer.class_logits, targets, valid, config))
    return assign(torch.stack(costs), targets.num_segments)


def _class_losses(
    layers: list[MaskClassification], targets: Targets, matches: LayerMatches, config: LossConfig
) -> Float[Tensor, " L"]:
    """Of each layer, summed over queries."""
    class_logits = torch.stack([layer.class_logits for layer in layers]).float()  # (L, B, Q, K1)
    void, device = class_logits.shape[-1] - 1, class_logits.device
    truth = torch.full(class_logits.shape[:3], void, device=device)
    numbers = torch.arange(len(layers), device=device)[:, None]
    truth[numbers, matches.images, matches.queries] = targets.classes[
        matches.images, matches.segments
    ]
    class_weights = torch.ones(void + 1, device=device)
    class_weights[void] = config.void
    losses = functional.cross_entropy(
        class_logits.flatten(0, 2), truth.flatten(), weight=class_weights, reduction="none"
    )
    return losses.view(len(layers), -1).sum(dim=1)


def _chosen_maps(
    layers: list[MaskClassification], matches: LayerMatches
) -> Float[Tensor, "L m h w"]:
    chosen = [
        layer.prediction.mask_logits[images, queries]
        for layer, images, queries in zip(layers, matches.images, matches.queries, strict=True)
    ]
    return torch.stack(chosen).float()


def _mask_losses(matched: _Matched, num_masks: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy and dice of each layer (L,), each divided by `num_masks`."""
    chosen, truth, cells = matched.logits, matched.truth, matched.valid
    bce = functional.binary_cross_entropy_with_logits(chosen, truth, reduction="none")
    bce = ((bce * cells).sum(dim=-1) / cells.sum(dim=-1).clamp(min=1)).sum(dim=-1) / num_masks
    probs = chosen.sigmoid() * cells
    overlap = 2 * (probs * truth).sum(dim=-1) + 1
    areas = probs.sum(dim=-1) + (truth * cells).sum(dim=-1)
    dice = (1 - overlap / (areas + 1)).sum(dim=-1) / num_masks
    return bce, dice


def _iou_loss(layer: MaskClassification, matched: _Matched, matches: Matches) -> Tensor:
    true_ious = mask_ious(matched.logits, matched.truth, matched.valid.bool())
    predicted = layer.prediction.iou_scores[matches.images, matches.queries]
    return ((predicted - true_ious) ** 2).sum()


def _matched(chosen: Tensor, truth: Truth, matches: LayerMatches, draws: Draws | None) -> _Matched:
    """On the whole grid, or at the points of `truth`."""
    if truth.points is None or draws is None:
        return _matched_cells(chosen.flatten(2), truth, matches)
    points = draws.undecided(chosen)  # (L, m, P, 2)
    logits = sample_maps(chosen.flatten(0, 1)[:, None], points.flatten(0, 1))
    sampled = logits.view(points.shape[:3])
    found = truth.points.found(matches.images[0], points)
    at_points = (found == matches.segments.unsqueeze(-1) + 1).float()
    return _Matched(sampled, at_points, torch.ones_like(sampled))


def _matched_cells(logits: Tensor, truth: Truth, matches: Matches | LayerMatches) -> _Matched:
    return _Matched(
        logits,
        truth.targets.masks[matches.images, matches.segments],
        truth.valid[matches.images].float(),
    )
