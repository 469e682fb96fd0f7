"""Where each mask can win, from bounds of its logits in tiles of cells.

Bilinear resampling stays between the least and the largest of the cells that it mixes. So in a tile
a mask wins nothing whose largest claim lies below the least claim of another, and only what is left
needs a look at the image's size.

Axes: N masks, h w mask grid, a b tiles of it.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

TILE = 4  # cells; what is mixed into a pixel lies in its own tile or in one beside it
MARGIN = 1e-3  # relative and absolute; interpolation and sigmoid round a thousand times finer


@dataclass(frozen=True, slots=True, kw_only=True)
class WinBounds:
    """What no resampling of the masks exceeds."""

    largest: Float[Tensor, "N a b"]  # logit of any pixel in the tile
    least: Float[Tensor, "N a b"]
    can_win: Bool[Tensor, "N a b"]  # no other mask claims every pixel of the tile more strongly
    can_win_inside: Bool[Tensor, "N a b"]  # nor where some mask has a logit >= 0


def bound_wins(mask_logits: Float[Tensor, "N h w"], scores: Float[Tensor, " N"]) -> WinBounds:
    """The tiles of masks on a CPU, with claims of score times sigmoid."""
    tiles = [_extremes(logits.float().numpy()) for logits in mask_logits.detach()]
    largest = _spread(torch.from_numpy(np.stack([t[0] for t in tiles])))
    least = -_spread(-torch.from_numpy(np.stack([t[1] for t in tiles])))
    weight = scores[:, None, None]
    claimed_everywhere = (weight * least.sigmoid()).amax(dim=0)  # (a, b)
    # Where a mask is inside, its claim is at least half its score.
    claimed_inside = torch.where(largest >= -MARGIN, 0.5 * weight, torch.inf).amin(dim=0)
    claims = (1 + MARGIN) * weight * largest.sigmoid()
    can_win = claims >= claimed_everywhere
    return WinBounds(
        largest=largest,
        least=least,
        can_win=can_win,
        can_win_inside=can_win & (claims >= claimed_inside),
    )


def _extremes(
    logits: Float[ndarray, "h w"],
) -> tuple[Float[ndarray, "a b"], Float[ndarray, "a b"]]:
    """The largest and the least logit of each tile; those at the end may be smaller."""
    missing = [(0, -side % TILE) for side in logits.shape]
    if any(after for _, after in missing):
        logits = np.pad(logits, missing, mode="edge")
    return _reduce_tiles(np.maximum, logits), _reduce_tiles(np.minimum, logits)


def _reduce_tiles(extreme: np.ufunc, logits: Float[ndarray, "h w"]) -> Float[ndarray, "a b"]:
    for _ in range(2):  # rows, then columns: whole lines at a time are several times as fast
        rows = logits.reshape(-1, TILE, logits.shape[1])
        logits = np.ascontiguousarray(reduce(extreme, [rows[:, i] for i in range(TILE)]).T)
    return logits


def _spread(largest: Float[Tensor, "N a b"]) -> Float[Tensor, "N a b"]:
    """The largest of each tile and the eight around it."""
    for axis in (1, 2):
        line = largest.movedim(axis, 0)
        spread = line.clone()
        torch.maximum(spread[1:], line[:-1], out=spread[1:])
        torch.maximum(spread[:-1], line[1:], out=spread[:-1])
        largest = spread.movedim(0, axis)
    return largest
