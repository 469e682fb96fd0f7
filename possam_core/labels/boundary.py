"""Do the borders of the labels lie where the image has edges?

Axes: H W pixels of the image, P pairs of pixels, L lines of M pixels.
"""

import numpy as np
from jaxtyping import Int16, Int32, UInt8
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
    below, beside = runs.borders()
    num_borders = len(below) + len(beside)
    if not num_borders:
        return float(runs.num_segments > 0)
    every = max(1, min(height, width) // GRID)
    on_grid = [
        _grid_contrasts(pixels[:, ::every], every),
        _grid_contrasts(pixels[::every].swapaxes(0, 1), every),
    ]
    ordered = np.sort(np.concatenate(on_grid))
    middle = len(ordered) // 2
    median_twice = ordered[middle] + ordered[-1 - middle]
    num_sharp = sum(
        np.count_nonzero(2 * _contrasts(pixels, places, is_below=is_below) > median_twice)
        for places, is_below in ((below, True), (beside, False))
    )
    return num_sharp / num_borders


def _contrasts(
    pixels: UInt8[ndarray, "H W 3"], places: Int32[ndarray, " P"], *, is_below: bool
) -> Int16[ndarray, " P"]:
    """How much the colours differ around the borders of pixels with the one below or beside.

    Args:
        pixels: of the image.
        places: of the pixels before the border, counted down the columns.
        is_below: the border is with the pixel below.
    """
    height, width = pixels.shape[:2]
    columns = places // height
    rows = places - columns * height
    here = rows * width + columns
    firsts, size, step = (rows, height, width) if is_below else (columns, width, 1)
    before = here - step * np.minimum(firsts, REACH_PX)
    after = here + step * np.minimum(size - 1 - firsts, 1 + REACH_PX)
    colours = pixels.reshape(-1, 3)
    return _differences(np.take(colours, before, axis=0), np.take(colours, after, axis=0))


def _grid_contrasts(lines: UInt8[ndarray, "L M 3"], every: int) -> Int16[ndarray, " P"]:
    """The same between lines of pixels and the next, of some lines."""
    firsts = np.arange(0, len(lines) - 1, every)
    before = np.maximum(firsts - REACH_PX, 0)
    after = np.minimum(firsts + 1 + REACH_PX, len(lines) - 1)
    return _differences(lines[before].reshape(-1, 3), lines[after].reshape(-1, 3))


def _differences(
    before: UInt8[ndarray, "P 3"], after: UInt8[ndarray, "P 3"]
) -> Int16[ndarray, " P"]:
    """Sums of absolute differences."""
    red, green, blue = (np.maximum(before, after) - np.minimum(before, after)).T
    sums: Int16[ndarray, " P"] = red.astype(np.int16) + green + blue
    return sums
