"""Matching of queries with true segments (Hungarian), in float32 (docs/method.md 6).

Axes: L layers, B images, Q mask queries, M true segments of an image, padded with empty ones,
m matched masks of all images together, P cells of the mask grid or points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from possam_core.device_copies import send
from possam_core.training.loss_config import LossConfig


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
class LayerMatches:
    """The matches of each layer; all have as many, and the same images."""

    images: Int64[Tensor, "L m"]
    queries: Int64[Tensor, "L m"]
    segments: Int64[Tensor, "L m"]

    def layer(self, index: int) -> Matches:
        """Of one layer."""
        return Matches(self.images[index], self.queries[index], self.segments[index])


def assign(costs: Float[Tensor, "L B Q M"], num_segments: Sequence[int]) -> LayerMatches:
    """The costs of all layers and images leave the device in one copy."""
    found = []
    for layer in costs.cpu().numpy():
        pairs = []
        for image, count in enumerate(num_segments):
            queries, segments = linear_sum_assignment(layer[image, :, :count])
            pairs.append(np.stack([np.full_like(queries, image), queries, segments]))
        found.append(np.concatenate(pairs, axis=1))
    places = send(torch.from_numpy(np.stack(found, axis=1)), costs.device)  # (3, L, m)
    return LayerMatches(*places.unbind(0))


@torch.no_grad()
def match(
    mask_logits: Float[Tensor, "B Q P"],
    class_logits: Float[Tensor, "B Q K1"],
    targets: Targets,
    valid: Bool[Tensor, "B P"],
    config: LossConfig,
) -> Matches:
    """Queries and the true segments they are matched to, at the least total cost (Hungarian)."""
    costs = matching_costs(mask_logits, class_logits, targets, valid, config)
    return assign(costs.unsqueeze(0), targets.num_segments).layer(0)


@torch.no_grad()
def matching_costs(
    mask_logits: Float[Tensor, "B Q P"],
    class_logits: Float[Tensor, "B Q K1"],
    targets: Targets,
    valid: Bool[Tensor, "B P"],
    config: LossConfig,
) -> Float[Tensor, "B Q M"]:
    """What it costs to match each query to each true segment of its image."""
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
    return cost.nan_to_num()
