"""Matching and losses of the mask stage (METHOD 4): class, mask BCE, dice, IoU; all in float32.

Masks are compared densely on the mask grid, where the truth is the share of each cell that a
segment covers, or at points.

Axes: B images, Q mask queries, M true segments of an image, m matched masks, K classes, P cells of
the mask grid or points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from possam_core.errors import ConfigError
from possam_core.model import MaskClassification
from possam_core.training.points import PointSampler, sample_maps

Matches = list[tuple[Tensor, Tensor]]  # per image: queries, and the segments they are matched to


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Weights of the terms, in the matching cost and in the loss alike."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    classes: float = 2.0
    mask_bce: float = 5.0
    dice: float = 5.0
    iou: float = 1.0  # loss only
    void: float = 0.1  # weight of the void class in the cross-entropy
    num_points: int | None = None  # at which masks are compared; None: on the whole mask grid

    def __post_init__(self) -> None:
        wrong = [
            f"loss.{name} must be 0 or more, got {getattr(self, name)}"
            for name in ("classes", "mask_bce", "dice", "iou", "void")
            if not getattr(self, name) >= 0
        ]
        if self.num_points is not None and self.num_points < 1:
            wrong.append(f"loss.num_points must be at least 1, got {self.num_points}")
        if wrong:
            raise ConfigError("; ".join(wrong))


@dataclass(frozen=True, slots=True)
class Targets:
    """True segments of one image."""

    masks: Float[Tensor, "M P"]  # share of each cell, in [0, 1]
    classes: Int64[Tensor, " M"]  # class index


@dataclass(frozen=True, slots=True)
class BatchTotals:
    """What the terms of a whole batch are divided by, known before the network has seen it.

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
    """What the losses compare with."""

    targets: list[Targets]
    valid: Bool[Tensor, "B P"]  # cells of the mask grid that are no padding
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
        [len(t.classes) for t in truth.targets], layers[0].class_logits.shape[1], config.void
    )
    totals = truth.totals or own
    num_masks = max(1, totals.num_masks)
    class_share = own.class_weight / totals.class_weight
    total = torch.zeros((), device=truth.valid.device)
    terms: dict[str, float] = {}
    for i, layer in enumerate(layers):
        maps = layer.prediction.mask_logits.float()  # (B, Q, h, w)
        matches = _match_all(layer, maps, truth, config)
        class_loss = _class_loss(layer.class_logits, truth.targets, matches, config) * class_share
        chosen = _matched(maps, truth, matches)
        mask_loss, dice_loss = _mask_losses(chosen, num_masks)
        total = total + config.classes * class_loss
        total = total + config.mask_bce * mask_loss + config.dice * dice_loss
        if i == len(layers) - 1:
            iou_loss = _iou_loss(layer, _matched_cells(maps.detach(), truth, matches), matches)
            iou_loss = iou_loss / num_masks
            total = total + config.iou * iou_loss
            terms = {
                "class": float(class_loss.detach()),
                "bce": float(mask_loss.detach()),
                "dice": float(dice_loss.detach()),
                "iou": float(iou_loss.detach()),
            }
    return Losses(total, terms)


def match(
    mask_logits: Float[Tensor, "Q P"],
    class_logits: Float[Tensor, "Q K1"],
    targets: Targets,
    valid: Bool[Tensor, " P"],
    config: LossConfig,
) -> tuple[Int64[Tensor, " m"], Int64[Tensor, " m"]]:
    """Queries and the true segments they are matched to, at the least total cost (Hungarian)."""
    logits, truth = mask_logits[:, valid], targets.masks[:, valid]
    num_cells = max(1, logits.shape[1])
    # BCE(x, t) = softplus(x) - x t, summed over cells for all pairs at once.
    bce = (functional.softplus(logits).sum(dim=1)[:, None] - logits @ truth.T) / num_cells
    probs = logits.sigmoid()
    dice = 1 - (2 * probs @ truth.T + 1) / (probs.sum(1)[:, None] + truth.sum(1)[None] + 1)
    classes = -class_logits.float().softmax(dim=-1)[:, targets.classes]
    cost = config.mask_bce * bce + config.dice * dice + config.classes * classes
    # A step whose costs are no numbers is skipped later, by its gradient.
    queries, segments = linear_sum_assignment(cost.nan_to_num().cpu().numpy())
    device = mask_logits.device
    return torch.as_tensor(queries, device=device), torch.as_tensor(segments, device=device)


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


@torch.no_grad()
def _match_all(
    layer: MaskClassification, maps: Tensor, truth: Truth, config: LossConfig
) -> Matches:
    matches = []
    for b, targets in enumerate(truth.targets):
        logits, valid = maps[b].flatten(1), truth.valid[b]
        if truth.points:
            points = truth.points.uniform(b, 1)
            num_segments = len(targets.classes)
            segments = torch.arange(num_segments, device=maps.device)
            at_points = truth.points.truth(b, segments, points.expand(num_segments, -1, -1))
            targets = Targets(at_points, targets.classes)
            logits = sample_maps(maps[b], points.expand(len(maps[b]), -1, -1))
            valid = torch.ones_like(logits[0], dtype=torch.bool)
        matches.append(match(logits, layer.class_logits[b], targets, valid, config))
    return matches


def _class_loss(
    class_logits: Tensor, targets: list[Targets], matches: Matches, config: LossConfig
) -> Tensor:
    void = class_logits.shape[-1] - 1
    truth = torch.full(class_logits.shape[:2], void, device=class_logits.device)
    for b, (queries, segments) in enumerate(matches):
        truth[b, queries] = targets[b].classes[segments]
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
    iou_scores = layer.prediction.iou_logits.float().sigmoid()
    predicted = torch.cat([iou_scores[b, queries] for b, (queries, _) in enumerate(matches)])
    return ((predicted - true_ious) ** 2).sum()


def _matched(maps: Tensor, truth: Truth, matches: Matches) -> _Matched:
    """On the whole grid or at points, as `truth` says."""
    if truth.points is None:
        return _matched_cells(maps, truth, matches)
    logits, at_points = [], []
    for b, (queries, segments) in enumerate(matches):
        chosen = maps[b, queries]
        points = truth.points.undecided(b, chosen.detach())
        logits.append(sample_maps(chosen, points))
        at_points.append(truth.points.truth(b, segments, points))
    chosen = torch.cat(logits)
    return _Matched(chosen, torch.cat(at_points), torch.ones_like(chosen))


def _matched_cells(maps: Tensor, truth: Truth, matches: Matches) -> _Matched:
    rows = torch.cat([torch.full_like(q, b) for b, (q, _) in enumerate(matches)])
    chosen = maps.flatten(2)[rows, torch.cat([q for q, _ in matches])]
    segments = [truth.targets[b].masks[segments] for b, (_, segments) in enumerate(matches)]
    return _Matched(chosen, torch.cat(segments), truth.valid[rows].float())
