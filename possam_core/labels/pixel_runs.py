"""Where the segments of one image lie, as runs of pixels: never a mask for each of them.

Axes: H W pixels of the image, R runs of pixels, P parts that these and the gaps between them make
of the image, C changes of value down a column.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy import ndarray

from possam_core.labels.masks import AreaAndBox, column_runs, run_corners


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

    @classmethod
    def of_map(cls, ids: ndarray, segment_ids: Sequence[int]) -> "PixelRuns":
        """The runs of a map (H, W) whose pixels are of `segment_ids`, or of none.

        A pixel of another id counts as of none.
        """
        starts, values = column_runs(ids)
        ends = np.append(starts[1:], ids.size)[: starts.size]
        names = np.asarray(segment_ids, np.int64)
        order = np.argsort(names, kind="stable")
        places = np.searchsorted(names[order], values)
        found = order[np.minimum(places, len(order) - 1)] if len(order) else places
        is_segment = names[found] == values if len(order) else np.zeros(len(values), np.bool_)
        return cls(
            image_hw=(ids.shape[0], ids.shape[1]),
            num_segments=len(names),
            owners=found[is_segment],
            starts=starts[is_segment],
            ends=ends[is_segment],
        )

    def regroup(self, targets: Sequence[int], num_segments: int) -> "PixelRuns":
        """The same runs of larger segments: segment `i` becomes a part of `targets[i]`."""
        owners = np.asarray(targets, np.int64)[self.owners]
        return replace(self, num_segments=num_segments, owners=owners)

    def areas_and_boxes(self) -> list[AreaAndBox]:
        """Size and place of each segment; every segment has pixels."""
        height, width = self.image_hw
        left, top, right, bottom = run_corners(self.starts, self.ends, height)
        if not len(self.owners):
            return []
        order = np.argsort(self.owners, kind="stable")
        firsts = np.flatnonzero(np.diff(self.owners[order], prepend=-1))
        areas = np.add.reduceat((self.ends - self.starts)[order], firsts)
        left, top = (np.minimum.reduceat(low[order], firsts) for low in (left, top))
        right, bottom = (np.maximum.reduceat(high[order], firsts) for high in (right, bottom))
        columns = (areas, left, top, right - left + 1, bottom - top + 1)
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

    def borders(self) -> tuple[tuple[ndarray, ndarray], tuple[ndarray, ndarray]]:
        """Rows and columns of the pixels that differ from the one below, and the one to the right.

        Two pixels differ if they are of different segments, or only one is of a segment.
        """
        height, width = self.image_hw
        starts, owners = self._parts(range(self.num_segments), -1)
        columns, rows = np.divmod(starts, height)
        is_below = rows > 0
        below = rows[is_below] - 1, columns[is_below]
        # Each pixel beside the one a column further: both maps are constant between their starts.
        last = height * (width - 1)
        both = np.concatenate([starts, starts - height])
        places = np.sort(both[(both >= 0) & (both < last)], kind="stable")
        lengths = np.diff(places, append=last)
        here = owners[np.searchsorted(starts, places, side="right") - 1]
        there = owners[np.searchsorted(starts, places + height, side="right") - 1]
        differ = (here != there) & (lengths > 0)
        places, lengths = places[differ], lengths[differ]
        before = np.cumsum(lengths) - lengths
        pixels = np.arange(lengths.sum()) + np.repeat(places - before, lengths)
        columns, rows = np.divmod(pixels, height)
        return below, (rows, columns)

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
