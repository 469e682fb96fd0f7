"""COCO compressed run-length encoding, both ways: a map of ids <-> the RLE of each segment.

An RLE lists the lengths of gaps and runs in turn, down the columns; from the fourth on, a number is
relative to the one two before. Each number is written five bits a character from the lowest up, bit
6 set where more follow, plus 48 to be ASCII.

Axes: H W pixels of the image, S segments, N numbers in all their RLEs.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int32, Int64
from numpy import ndarray

from possam_core.errors import PossamError
from possam_core.labels.masks import VOID_ID, find_runs
from possam_core.labels.pixel_runs import PixelRuns

_MAX_CHARS = 8  # 40 bits, more than any number of a 32-bit image


def rle_counts(ids: Int32[ndarray, "H W"]) -> dict[int, str]:
    """COCO compressed RLE of every nonzero id, byte-identical to `pycocotools.mask.encode`.

    One pass over the map serves all ids, so the cost hardly depends on how many there are.
    """
    runs = find_runs(ids)
    texts = _encode(runs.is_first, runs.starts, runs.ends, ids.size)
    return dict(zip(runs.ids[runs.is_first].tolist(), texts, strict=True))


def encode_runs(runs: PixelRuns) -> list[str]:
    """COCO compressed RLE of each segment; every segment has pixels."""
    order = np.argsort(runs.owners, kind="stable")
    is_first = np.diff(runs.owners[order], prepend=-1) > 0
    height, width = runs.image_hw
    return _encode(is_first, runs.starts[order], runs.ends[order], height * width)


def _encode(
    is_first: Bool[ndarray, " R"],
    starts: Int64[ndarray, " R"],
    ends: Int64[ndarray, " R"],
    num_px: int,
) -> list[str]:
    """The RLE of each segment, whose runs follow one another; `is_first` where one begins."""
    if not starts.size:
        return []
    is_last = np.append(is_first[1:], True)
    has_tail = is_last & (ends < num_px)
    previous_ends = np.where(is_first, 0, np.roll(ends, 1))
    # Each run gives two counts, the gap before it and its length; pixels after a segment's last
    # run give one more.
    places = 2 * np.arange(len(starts)) + np.cumsum(has_tail) - has_tail
    counts = np.empty(2 * len(starts) + int(has_tail.sum()), np.int64)
    counts[places] = starts - previous_ends
    counts[places + 1] = ends - starts
    counts[places[has_tail] + 2] = num_px - ends[has_tail]

    first_places = places[is_first]
    num_counts = np.diff(first_places, append=len(counts))
    index_in_segment = np.arange(len(counts)) - np.repeat(first_places, num_counts)
    deltas = counts.copy()  # COCO stores each count from the fourth on relative to two before
    deltas[2:] -= np.where(index_in_segment[2:] > 2, counts[:-2], 0)

    text, num_chars = _compress(deltas)
    text_ends = np.cumsum(num_chars)
    text_starts = (text_ends - num_chars)[first_places].tolist()
    return [text[a:b] for a, b in zip(text_starts, [*text_starts[1:], len(text)], strict=True)]


def decode_ids(
    counts: Sequence[str], ids: Sequence[int], image_hw: tuple[int, int]
) -> Int32[ndarray, "H W"]:
    """The id of each pixel's segment; `VOID_ID` where there is none.

    Args:
        counts: COCO compressed RLE of each segment.
        ids: of the segments.
        image_hw: size of the image in pixels.

    Raises:
        PossamError: as `decode_runs`.
    """
    return decode_runs(counts, image_hw).paint(ids, void=VOID_ID).astype(np.int32)


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


def _compress(deltas: Int64[ndarray, " N"]) -> tuple[str, Int64[ndarray, " N"]]:
    """All numbers as text, and how many characters each one took."""
    magnitudes = np.where(deltas < 0, ~deltas, deltas)
    limits = 16 << (5 * np.arange(_MAX_CHARS - 1))  # a sign bit leaves four bits of the first
    num_chars = 1 + np.searchsorted(limits, magnitudes, side="right")
    text = np.empty(num_chars.sum(), dtype=np.uint8)
    # Most deltas take one character: write the first of all, then the second of the rest, ...
    rest, num_left, places = deltas, num_chars, np.cumsum(num_chars) - num_chars
    while rest.size:
        has_more = num_left > 1
        text[places] = (rest & 31) + np.where(has_more, 48 + 32, 48)
        rest, num_left = rest[has_more] >> 5, num_left[has_more] - 1
        places = places[has_more] + 1
    return text.tobytes().decode("ascii"), num_chars


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
    """The numbers (N,) in all RLEs, as they are written, and how many (S,) each RLE has."""
    text = np.frombuffer("".join(counts).encode(), np.uint8).astype(np.int64) - 48
    if not all(counts) or ((text < 0) | (text > 63)).any():
        raise PossamError("its RLE is empty or has characters that no RLE has")
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
