"""Do the borders of the labels lie where the image has edges?

Axes: H W pixels of the image, P pairs of pixels.
"""

import numpy as np
from jaxtyping import Int32, Int64, UInt8
from numpy import ndarray

REACH_PX = 1  # beyond a border on both sides: labels and photographs are soft by about a pixel
GRID = 64  # places along the shorter side where the image is sampled, at least


def boundary_sharpness(pixels: UInt8[ndarray, "H W 3"], ids: Int32[ndarray, "H W"]) -> float:
    """Share of the labels' borders that lie on an edge of the image, in [0, 1].

    A border is a pair of neighbouring pixels, one above or beside the other, of different ids; void
    is an id like any other. It lies on an edge if the pixels one step beyond it, three apart,
    differ more in colour (sum of absolute differences of R, G and B) than the median of such pairs
    on a regular grid over the image. Borders drawn at random give 0.5, those of true masks nearly
    1. Labels without a border give 1 if there is a segment and 0 if all is void.

    Costs some 2 ms at 640 x 480 on one core and no memory to speak of: only the colours of pairs
    are copied.
    """
    height, width = ids.shape
    step = max(1, min(height, width) // GRID)
    on_borders, on_grid = [], []
    for axis in (0, 1):
        lines, colours = np.moveaxis(ids, axis, 0), np.moveaxis(pixels, axis, 0)
        on_borders.append(_contrasts(colours, *np.nonzero(lines[1:] != lines[:-1])))
        places = np.indices(lines[:-1:step, ::step].shape).reshape(2, -1) * step
        on_grid.append(_contrasts(colours, *places))
    contrasts = np.concatenate(on_borders)
    if not contrasts.size:
        return float(ids.any())
    return float(np.mean(contrasts > np.median(np.concatenate(on_grid))))


def _contrasts(
    colours: UInt8[ndarray, "H W 3"], first: Int64[ndarray, " P"], across: Int64[ndarray, " P"]
) -> Int64[ndarray, " P"]:
    """How much the colours differ around the borders below the pixels at (`first`, `across`)."""
    before = np.maximum(first - REACH_PX, 0)
    after = np.minimum(first + 1 + REACH_PX, len(colours) - 1)
    differences = colours[before, across].astype(np.int16) - colours[after, across]
    contrasts: Int64[ndarray, " P"] = np.abs(differences).sum(axis=-1, dtype=np.int64)
    return contrasts
