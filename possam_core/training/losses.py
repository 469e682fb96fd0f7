"""Matching and losses of the mask stage (METHOD 4): class, mask BCE, dice, IoU.

Masks are compared densely on the mask grid; ground truth is the share of each cell it covers.

Axes: B images, Q mask queries, M true segments of an image, K classes, P cells of the mask grid.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from possam_core.model import MaskClassification


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """Weights of the terms, in the matching cost and in the loss alike."""

    classes: float = 2.0
    mask_bce: float = 5.0
    dice: float = 5.0
    iou: float = 1.0  # loss only
    void: float = 0.1  # weight of the void class in the cross-entropy


@dataclass(frozen=True, slots=True)
class Targets:
    """True segments of one image."""

    masks: Float[Tensor, "M P"]  # share of each cell, in [0, 1]
    classes: Int64[Tensor, " M"]  # class index


@dataclass(frozen=True, slots=True)
class Losses:
    """Weighted sum for the optimiser, and the last layer's terms for the log."""

    total: Tensor
    terms: dict[str, float]


def possam_loss(
    layers: list[MaskClassification],
    targets: list[Targets],
    valid: Bool[Tensor, "B P"],
    weights: LossWeights,
) -> Losses:
    """Match each layer on its own, and sum the losses of all (deep supervision).

    The IoU loss is on the last layer alone.
    """
    num_masks = max(1, sum(len(t.classes) for t in targets))
    total = torch.zeros(())
    terms: dict[str, float] = {}
    for i, layer in enumerate(layers):
        logits = layer.prediction.mask_logits.flatten(2).float()  # (B, Q, P)
        matches = [
            match(logits[b].detach(), layer.class_logits[b].detach(), targets[b], valid[b], weights)
            for b in range(len(targets))
        ]
        class_loss = _class_loss(layer.class_logits, targets, matches, weights)
        mask_loss, dice_loss = _mask_losses(logits, targets, matches, valid, num_masks)
        total = total + weights.classes * class_loss
        total = total + weights.mask_bce * mask_loss + weights.dice * dice_loss
        if i == len(layers) - 1:
            iou_loss = _iou_loss(layer, logits, targets, matches, valid, num_masks)
            total = total + weights.iou * iou_loss
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
    weights: LossWeights,
) -> tuple[Int64[Tensor, " m"], Int64[Tensor, " m"]]:
    """Queries and the true segments they are matched to, at the least total cost (Hungarian)."""
    logits, truth = mask_logits[:, valid], targets.masks[:, valid]
    num_cells = max(1, logits.shape[1])
    # BCE(x, t) = softplus(x) - x t, summed over cells for all pairs at once.
    bce = (functional.softplus(logits).sum(dim=1)[:, None] - logits @ truth.T) / num_cells
    probs = logits.sigmoid()
    dice = 1 - (2 * probs @ truth.T + 1) / (probs.sum(1)[:, None] + truth.sum(1)[None] + 1)
    classes = -class_logits.float().softmax(dim=-1)[:, targets.classes]
    cost = weights.mask_bce * bce + weights.dice * dice + weights.classes * classes
    queries, segments = linear_sum_assignment(cost.numpy())
    return torch.as_tensor(queries), torch.as_tensor(segments)


def mask_ious(
    mask_logits: Float[Tensor, "m P"], truth: Float[Tensor, "m P"], valid: Bool[Tensor, "m P"]
) -> Float[Tensor, " m"]:
    """IoU of each mask, cut at zero, with its true segment, cut at half a cell."""
    masks, segments = (mask_logits > 0) & valid, (truth > 0.5) & valid
    union = (masks | segments).sum(dim=-1).clamp(min=1)
    return (masks & segments).sum(dim=-1) / union


def _class_loss(
    class_logits: Tensor,
    targets: list[Targets],
    matches: list[tuple[Tensor, Tensor]],
    weights: LossWeights,
) -> Tensor:
    void = class_logits.shape[-1] - 1
    truth = torch.full(class_logits.shape[:2], void)
    for b, (queries, segments) in enumerate(matches):
        truth[b, queries] = targets[b].classes[segments]
    class_weights = torch.ones(void + 1)
    class_weights[void] = weights.void
    return functional.cross_entropy(
        class_logits.float().flatten(0, 1), truth.flatten(), weight=class_weights
    )


def _mask_losses(
    logits: Tensor,
    targets: list[Targets],
    matches: list[tuple[Tensor, Tensor]],
    valid: Tensor,
    num_masks: int,
) -> tuple[Tensor, Tensor]:
    chosen, truth, cells = _matched(logits, targets, matches, valid)
    bce = functional.binary_cross_entropy_with_logits(chosen, truth, reduction="none")
    bce = ((bce * cells).sum(dim=1) / cells.sum(dim=1).clamp(min=1)).sum() / num_masks
    probs = chosen.sigmoid() * cells
    overlap = 2 * (probs * truth).sum(dim=1) + 1
    dice = (1 - overlap / (probs.sum(dim=1) + (truth * cells).sum(dim=1) + 1)).sum() / num_masks
    return bce, dice


def _iou_loss(
    layer: MaskClassification,
    logits: Tensor,
    targets: list[Targets],
    matches: list[tuple[Tensor, Tensor]],
    valid: Tensor,
    num_masks: int,
) -> Tensor:
    chosen, truth, cells = _matched(logits.detach(), targets, matches, valid)
    true_ious = mask_ious(chosen, truth, cells.bool())
    iou_scores = layer.prediction.iou_logits.float().sigmoid()
    predicted = torch.cat([iou_scores[b, queries] for b, (queries, _) in enumerate(matches)])
    return ((predicted - true_ious) ** 2).sum() / num_masks


def _matched(
    logits: Tensor, targets: list[Targets], matches: list[tuple[Tensor, Tensor]], valid: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Matched masks, their true segments, and which cells count; each (m, P)."""
    rows = torch.cat([torch.full_like(q, b) for b, (q, _) in enumerate(matches)])
    chosen = logits[rows, torch.cat([q for q, _ in matches])]
    truth = torch.cat([targets[b].masks[segments] for b, (_, segments) in enumerate(matches)])
    return chosen, truth, valid[rows].float()
