"""Where the segments of one image lie, as runs of pixels: never a mask for each of them.

Axes: H W pixels of the image, R runs of pixels, P parts that these and the gaps between them make
of the image, C changes of value down a column.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy import ndarray

from possam_core.labels.masks import AreaAndBox, run_corners


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A map (H, W) by its top row, and the pixels that differ from the one above them."""

    top: ndarray  # (W,) values
    rows: ndarray  # (C,) of such pixels
    columns: ndarray  # (C,)
    before: ndarray  # (C,) values of the pixels above
    after: ndarray  # (C,) their own


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelRuns:
    """Runs of pixels of one segment each, by place; no two of them share a pixel."""

    image_hw: tuple[int, int]
    num_segments: int
    owners: ndarray  # (R,) position of the segment, from 0
    starts: ndarray  # (R,) first pixel, counted down the columns as COCO does
    ends: ndarray  # (R,) pixel after the last

    def regroup(self, targets: Sequence[int], num_segments: int) -> "PixelRuns":
        """The same runs of larger segments: segment `i` becomes a part of `targets[i]`."""
        owners = np.asarray(targets, np.int64)[self.owners]
        return replace(self, num_segments=num_segments, owners=owners)

    def areas_and_boxes(self) -> list[AreaAndBox]:
        """Size and place of each segment; every segment has pixels."""
        height, width = self.image_hw
        left, top, right, bottom = run_corners(self.starts, self.ends, height)
        areas = np.zeros(self.num_segments, np.int64)
        np.add.at(areas, self.owners, self.ends - self.starts)
        lows = np.full((2, self.num_segments), max(height, width))
        highs = np.zeros((2, self.num_segments), np.int64)
        for axis, (low, high) in enumerate(((left, right), (top, bottom))):
            np.minimum.at(lows[axis], self.owners, low)
            np.maximum.at(highs[axis], self.owners, high)
        columns = (areas, *lows, *(highs - lows + 1))
        return [
            AreaAndBox(area_px=a, bbox_xywh=(x, y, w, h))
            for a, x, y, w, h in zip(*(c.tolist() for c in columns), strict=True)
        ]

    def paint(self, values: Sequence[int], *, void: int) -> ndarray:
        """A map (H, W) with the value of each segment, and `void` elsewhere.

        It has the smallest unsigned type that holds all of them.
        """
        dtype = np.min_scalar_type(max(*values, void) if values else void)
        height, width = self.image_hw
        starts, colours = self._parts(values, void)
        lengths = np.diff(starts, append=height * width)
        columns = np.repeat(colours.astype(dtype), lengths)
        return np.ascontiguousarray(columns.reshape(width, height).T)

    def changes(self, values: Sequence[int], *, void: int) -> Changes:
        """The same map by its changes: most pixels are never touched."""
        height, width = self.image_hw
        starts, colours = self._parts(values, void)
        covers = np.searchsorted(starts, np.arange(width) * height, side="right") - 1
        columns, rows = np.divmod(starts, height)
        is_below = rows > 0  # what starts at the top of a column has no pixel above
        return Changes(
            top=colours[covers],
            rows=rows[is_below],
            columns=columns[is_below],
            before=colours[:-1][is_below[1:]],
            after=colours[is_below],
        )

    def _parts(self, values: Sequence[int], void: int) -> tuple[ndarray, ndarray]:
        """First pixel (P,) and value (P,) of each part, none of them empty."""
        starts = np.zeros(2 * len(self.starts) + 1, np.int64)
        starts[1::2], starts[2::2] = self.starts, self.ends
        colours = np.full(len(starts), void, np.int64)
        colours[1::2] = np.asarray(values, np.int64)[self.owners]
        is_part = np.diff(starts, append=self.image_hw[0] * self.image_hw[1]) > 0
        return starts[is_part], colours[is_part]
