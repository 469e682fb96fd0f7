"""Matching and losses of the mask stage: class, mask BCE, dice, IoU (docs/method.md 6).

All in float32. Masks are compared densely on the mask grid, where the truth is the share of each
cell that a segment covers, or at points.

Axes: B images, Q mask queries, M true segments of an image, padded with empty ones, m matched masks
of all images together, K classes, P cells of the mask grid or points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from possam_core.model import MaskClassification
from possam_core.settings import Setting, require_valid
from possam_core.training.points import PointSampler, sample_maps

MAX_WEIGHT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Weights of the terms, in the matching cost and in the loss alike."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    classes: Annotated[
        float, Setting("weight of the classes' cross-entropy", ge=0, le=MAX_WEIGHT)
    ] = 2.0
    mask_bce: Annotated[
        float, Setting("weight of the masks' cross-entropy", ge=0, le=MAX_WEIGHT)
    ] = 5.0
    dice: Annotated[float, Setting("weight of the masks' dice", ge=0, le=MAX_WEIGHT)] = 5.0
    iou: Annotated[
        float,
        Setting(
            "weight of the predicted IoU's squared error; in the loss alone", ge=0, le=MAX_WEIGHT
        ),
    ] = 1.0
    void: Annotated[
        float,
        Setting("weight of the void class in the classes' cross-entropy", ge=0, le=MAX_WEIGHT),
    ] = 0.1
    num_points: Annotated[
        int | None,
        Setting(
            "points at which masks are compared",
            ge=1,
            le=10_000_000,
            unset="the whole mask grid",
            example=12544,
        ),
    ] = None

    def __post_init__(self) -> None:
        require_valid(self, prefix="loss.")


@dataclass(frozen=True, slots=True)
class Targets:
    """True segments of a batch; images with fewer than others end in empty ones."""

    masks: Float[Tensor, "B M P"]  # share of each cell, in [0, 1]
    classes: Int64[Tensor, "B M"]  # class index
    num_segments: tuple[int, ...]  # of each image

    @classmethod
    def stack(cls, masks: Sequence[Tensor], classes: Sequence[Tensor]) -> "Targets":
        """Of the masks (M, P) and the classes (M,) of each image."""
        return cls(
            pad_sequence(list(masks), batch_first=True),
            pad_sequence(list(classes), batch_first=True),
            tuple(len(c) for c in classes),
        )


@dataclass(frozen=True, slots=True)
class Matches:
    """Which query is matched to which segment, by image and query."""

    images: Int64[Tensor, " m"]
    queries: Int64[Tensor, " m"]
    segments: Int64[Tensor, " m"]  # of its image


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

    The IoU loss is on the last layer alone.
    """
    own = BatchTotals.count(
        truth.targets.num_segments, layers[0].class_logits.shape[1], config.void
    )
    totals = truth.totals or own
    num_masks = max(1, totals.num_masks)
    class_share = own.class_weight / totals.class_weight
    total = torch.zeros((), device=truth.valid.device)
    terms: dict[str, float] = {}
    for i, layer in enumerate(layers):
        maps = layer.prediction.mask_logits.float()  # (B, Q, h, w)
        matches = _match_layer(layer, maps, truth, config)
        class_loss = _class_loss(layer.class_logits, truth.targets, matches, config) * class_share
        chosen = _matched(maps, truth, matches)
        mask_loss, dice_loss = _mask_losses(chosen, num_masks)
        total = total + config.classes * class_loss
        total = total + config.mask_bce * mask_loss + config.dice * dice_loss
        if i == len(layers) - 1:
            cells = _matched_cells(maps.detach(), truth, matches)
            iou_loss = _iou_loss(layer, cells, matches) / num_masks
            total = total + config.iou * iou_loss
            terms = {
                "class": float(class_loss.detach()),
                "bce": float(mask_loss.detach()),
                "dice": float(dice_loss.detach()),
                "iou": float(iou_loss.detach()),
            }
    return Losses(total, terms)


@torch.no_grad()
def match(
    mask_logits: Float[Tensor, "B Q P"],
    class_logits: Float[Tensor, "B Q K1"],
    targets: Targets,
    valid: Bool[Tensor, "B P"],
    config: LossConfig,
) -> Matches:
    """Queries and the true segments they are matched to, at the least total cost (Hungarian).

    The costs of all images are computed at once and leave the device in one copy.
    """
    cells = valid.float().unsqueeze(1)  # (B, 1, P)
    truth = targets.masks * cells
    num_cells = cells.sum(dim=-1, keepdim=True).clamp(min=1)
    # BCE(x, t) = softplus(x) - x t, summed over cells for all pairs at once.
    empty = (functional.softplus(mask_logits) * cells).sum(dim=-1, keepdim=True)
    bce = (empty - mask_logits @ truth.mT) / num_cells  # (B, Q, M)
    probs = mask_logits.sigmoid() * cells
    areas = probs.sum(dim=-1, keepdim=True) + truth.sum(dim=-1).unsqueeze(1)
    dice = 1 - (2 * probs @ truth.mT + 1) / (areas + 1)
    wanted = targets.classes.unsqueeze(1).expand(-1, class_logits.shape[1], -1)
    classes = -class_logits.float().softmax(dim=-1).gather(-1, wanted)
    cost = config.mask_bce * bce + config.dice * dice + config.classes * classes
    # A step with non-finite costs is skipped later, because of its gradient.
    return _assign(cost.nan_to_num(), targets.num_segments)


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

    logits: Float[Tensor, "m P"]
    truth: Float[Tensor, "m P"]
    valid: Float[Tensor, "m P"]  # 1 where a cell counts


def _assign(cost: Float[Tensor, "B Q M"], num_segments: Sequence[int]) -> Matches:
    found = []
    for image, (pairs, count) in enumerate(zip(cost.cpu().numpy(), num_segments, strict=True)):
        queries, segments = linear_sum_assignment(pairs[:, :count])
        found.append(np.stack([np.full_like(queries, image), queries, segments]))
    images, queries, segments = torch.from_numpy(np.concatenate(found, axis=1)).to(cost.device)
    return Matches(images, queries, segments)


@torch.no_grad()
def _match_layer(
    layer: MaskClassification, maps: Tensor, truth: Truth, config: LossConfig
) -> Matches:
    if truth.points is None:
        return match(maps.flatten(2), layer.class_logits, truth.targets, truth.valid, config)
    logits, at_points = [], []
    for image, num_segments in enumerate(truth.targets.num_segments):
        points = truth.points.uniform(image, 1)
        segments = torch.arange(num_segments, device=maps.device)
        at_points.append(truth.points.truth(image, segments, points.expand(num_segments, -1, -1)))
        logits.append(sample_maps(maps[image], points.expand(maps.shape[1], -1, -1)))
    targets = replace(truth.targets, masks=pad_sequence(at_points, batch_first=True))
    sampled = torch.stack(logits)
    everywhere = torch.ones_like(sampled[:, 0], dtype=torch.bool)
    return match(sampled, layer.class_logits, targets, everywhere, config)


def _class_loss(
    class_logits: Tensor, targets: Targets, matches: Matches, config: LossConfig
) -> Tensor:
    void = class_logits.shape[-1] - 1
    truth = torch.full(class_logits.shape[:2], void, device=class_logits.device)
    truth[matches.images, matches.queries] = targets.classes[matches.images, matches.segments]
    class_weights = torch.ones(void + 1, device=class_logits.device)
    class_weights[void] = config.void
    return functional.cross_entropy(
        class_logits.float().flatten(0, 1), truth.flatten(), weight=class_weights
    )


def _mask_losses(matched: _Matched, num_masks: float) -> tuple[Tensor, Tensor]:
    chosen, truth, cells = matched.logits, matched.truth, matched.valid
    bce = functional.binary_cross_entropy_with_logits(chosen, truth, reduction="none")
    bce = ((bce * cells).sum(dim=1) / cells.sum(dim=1).clamp(min=1)).sum() / num_masks
    probs = chosen.sigmoid() * cells
    overlap = 2 * (probs * truth).sum(dim=1) + 1
    dice = (1 - overlap / (probs.sum(dim=1) + (truth * cells).sum(dim=1) + 1)).sum() / num_masks
    return bce, dice


def _iou_loss(layer: MaskClassification, matched: _Matched, matches: Matches) -> Tensor:
    true_ious = mask_ious(matched.logits, matched.truth, matched.valid.bool())
    predicted = layer.prediction.iou_scores[matches.images, matches.queries]
    return ((predicted - true_ious) ** 2).sum()


def _matched(maps: Tensor, truth: Truth, matches: Matches) -> _Matched:
    """On the whole grid, or at the points of `truth`."""
    if truth.points is None:
        return _matched_cells(maps, truth, matches)
    logits, at_points = [], []
    for image in range(len(maps)):
        mine = matches.images == image
        chosen = maps[image, matches.queries[mine]]
        points = truth.points.undecided(image, chosen.detach())
        logits.append(sample_maps(chosen, points))
        at_points.append(truth.points.truth(image, matches.segments[mine], points))
    sampled = torch.cat(logits)
    return _Matched(sampled, torch.cat(at_points), torch.ones_like(sampled))


def _matched_cells(maps: Tensor, truth: Truth, matches: Matches) -> _Matched:
    return _Matched(
        maps.flatten(2)[matches.images, matches.queries],
        truth.targets.masks[matches.images, matches.segments],
        truth.valid[matches.images].float(),
    )
