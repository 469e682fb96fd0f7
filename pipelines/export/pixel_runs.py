"""Where the segments of one image lie, straight from their RLE: never a mask for each of them.

Axes: H W pixels of the image, S segments, N numbers in all their RLEs, R runs of pixels, P parts
that these and the gaps between them make of the image, C changes of value down a column.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy import ndarray

from possam_core.errors import PossamError
from possam_core.labels.masks import AreaAndBox


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
        """Size and place of each segment, all of which have pixels."""
        height, width = self.image_hw
        left, top = np.divmod(self.starts, height)
        right, bottom = np.divmod(self.ends - 1, height)
        wraps = right > left  # then it touches the bottom of one column and the top of the next
        top, bottom = np.where(wraps, 0, top), np.where(wraps, height - 1, bottom)
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
        """The same map, of which most pixels are never touched."""
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


def decode_runs(counts: Sequence[str], image_hw: tuple[int, int]) -> PixelRuns:
    """The runs of all segments of an image.

    Args:
        counts: COCO compressed RLE of each segment.
        image_hw: size of the image in pixels.

    Raises:
        PossamError: a segment is empty, of another size, or overlaps another one.
    """
    num_px = image_hw[0] * image_hw[1]
    if not counts:
        nothing = np.zeros(0, np.int64)
        return PixelRuns(
            image_hw=image_hw, num_segments=0, owners=nothing, starts=nothing, ends=nothing
        )
    deltas, sizes = _parse(counts)
    firsts = np.cumsum(sizes) - sizes
    places = np.arange(len(deltas)) - np.repeat(firsts, sizes)  # of a number in its own RLE
    is_pixels = places % 2 == 1  # numbers are the lengths of a gap and a run in turn
    lengths = _lengths(deltas, places, firsts, sizes)
    ends = np.cumsum(lengths)
    ends -= np.repeat(ends[firsts] - lengths[firsts], sizes)
    if (lengths < 0).any() or (ends[firsts + sizes - 1] != num_px).any():
        raise PossamError(f"its RLE is not of {image_hw[1]} x {image_hw[0]} pixels")

    is_run = is_pixels & (lengths > 0)
    owners = np.repeat(np.arange(len(counts)), sizes)[is_run]
    starts, ends = (ends - lengths)[is_run], ends[is_run]
    order = np.argsort(starts, kind="stable")
    owners, starts, ends = owners[order], starts[order], ends[order]
    if (starts[1:] < ends[:-1]).any():
        raise PossamError("its segments overlap")
    if not np.bincount(owners, minlength=len(counts)).all():
        raise PossamError("one of its segments has no pixel")
    return PixelRuns(
        image_hw=image_hw, num_segments=len(counts), owners=owners, starts=starts, ends=ends
    )


def _lengths(deltas: ndarray, places: ndarray, firsts: ndarray, sizes: ndarray) -> ndarray:
    """The lengths (N,) behind the numbers as they are written.

    From the fourth of an RLE on, a number is relative to the one two before: lengths are sums of
    every other number.
    """
    is_pixels = places % 2 == 1
    runs = np.cumsum(np.where(is_pixels, deltas, 0))
    gaps = np.cumsum(np.where(is_pixels | (places == 0), 0, deltas))
    before = np.where(is_pixels, np.repeat(runs[firsts], sizes), np.repeat(gaps[firsts], sizes))
    lengths: ndarray = np.where(is_pixels, runs, gaps) - before
    lengths[firsts] = deltas[firsts]
    return lengths


def _parse(counts: Sequence[str]) -> tuple[ndarray, ndarray]:
    """The numbers (N,) in all RLEs, as they are written, and how many (S,) each RLE has.

    Five bits a character from the lowest up, bit 6 set where more follow, plus 48 to be ASCII.
    """
    text = np.frombuffer("".join(counts).encode("ascii"), np.uint8).astype(np.int64) - 48
    is_last = (text & 32) == 0  # of its number
    if not is_last[np.cumsum([len(c) for c in counts]) - 1].all():
        raise PossamError("its RLE ends within a number")
    lasts = np.flatnonzero(is_last)
    firsts = np.concatenate([[0], lasts[:-1] + 1])
    num_chars = lasts - firsts + 1
    places = np.arange(len(text)) - np.repeat(firsts, num_chars)
    numbers = np.add.reduceat((text & 31) << (5 * places), firsts)
    is_negative = (text[lasts] & 16) != 0
    numbers -= np.where(is_negative, 1 << (5 * num_chars), 0)
    num_before = np.concatenate([[0], np.cumsum(is_last)])
    return numbers, np.diff(num_before[np.cumsum([0, *(len(c) for c in counts)])])
