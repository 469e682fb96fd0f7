"""Do the borders of the labels lie where the image has edges?

Axes: H W pixels of the image, P pairs of pixels.
"""

import numpy as np
from jaxtyping import Int64, UInt8
from numpy import ndarray

from possam_core.labels.pixel_runs import PixelRuns

REACH_PX = 1  # beyond a border on both sides: labels and photographs are soft by about a pixel
GRID = 64  # places along the shorter side where the image is sampled, at least


def boundary_sharpness(pixels: UInt8[ndarray, "H W 3"], runs: PixelRuns) -> float:
    """Share of the labels' borders that lie on an edge of the image, in [0, 1].

    A border is a pair of neighbouring pixels, one above or beside the other, of different segments;
    void is like a segment. It lies on an edge if the pixels one step beyond it, three apart,
    differ more in colour (sum of absolute differences of R, G and B) than the median of such pairs
    on a regular grid over the image. Borders drawn at random give 0.5, those of true masks nearly
    1. Labels without a border give 1 if there is a segment and 0 if all is void.

    Only the colours of pairs are looked at, so the cost grows with the length of the borders.
    """
    height, width = runs.image_hw
    colours = pixels.reshape(-1, 3)
    below, beside = runs.borders()
    contrasts = np.concatenate(
        [
            _contrasts(colours, *below, size=height, step=width, across=1),
            _contrasts(colours, *beside[::-1], size=width, step=1, across=width),
        ]
    )
    if not contrasts.size:
        return float(runs.num_segments > 0)
    every = max(1, min(height, width) // GRID)
    on_grid = [
        _contrasts(colours, *_grid(height - 1, width, every), size=height, step=width, across=1),
        _contrasts(colours, *_grid(width - 1, height, every), size=width, step=1, across=width),
    ]
    return float(np.mean(contrasts > np.median(np.concatenate(on_grid))))


def _grid(
    num_firsts: int, num_others: int, every: int
) -> tuple[Int64[ndarray, " P"], Int64[ndarray, " P"]]:
    firsts, others = np.arange(0, num_firsts, every), np.arange(0, num_others, every)
    return np.repeat(firsts, len(others)), np.tile(others, len(firsts))


def _contrasts(
    colours: UInt8[ndarray, "HW 3"],
    first: Int64[ndarray, " P"],
    other: Int64[ndarray, " P"],
    *,
    size: int,
    step: int,
    across: int,
) -> Int64[ndarray, " P"]:
    """How much the colours differ around the border between `first` and the next along an axis.

    Args:
        colours: of all pixels, row by row.
        first: place along the axis of the pixel before the border.
        other: its place on the other axis.
        size: of the image along the axis.
        step: from a pixel to the next along the axis.
        across: from a pixel to the next along the other axis.
    """
    start = other * across
    before = np.take(colours, start + step * np.maximum(first - REACH_PX, 0), axis=0)
    after = np.take(colours, start + step * np.minimum(first + 1 + REACH_PX, size - 1), axis=0)
    differences = before.astype(np.int16) - after
    contrasts: Int64[ndarray, " P"] = np.abs(differences).sum(axis=-1, dtype=np.int64)
    return contrasts
