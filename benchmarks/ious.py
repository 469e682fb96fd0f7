"""IoU of every mask with every true segment.

Axes: Q masks, N true segments, P pixels or cells.
"""

from torch import Tensor


def pairwise_ious(masks: Tensor, segments: Tensor) -> Tensor:
    """(Q, N) of boolean (Q, P) and (N, P); 0 where both are empty."""
    claimed, truth = masks.float(), segments.float()
    shared = claimed @ truth.T
    union = claimed.sum(dim=1)[:, None] + truth.sum(dim=1) - shared
    return shared / union.clamp(min=1)
