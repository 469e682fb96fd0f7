"""COCO compressed run-length encoding, both ways: a map of ids <-> the RLE of each segment.

An RLE lists the lengths of gaps and runs in turn, down the columns; from the fourth on, a number is
relative to the one two before. Each number is written five bits a character from the lowest up, bit
6 set where more follow, plus 48 to be ASCII.

Axes: H W pixels of the image, S segments, N numbers in all their RLEs.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt8
from numpy import ndarray

from possam_core.errors import PossamError
from possam_core.labels.masks import VOID_ID, find_runs, stable_order
from possam_core.labels.pixel_runs import PixelRuns

_ZERO, _MORE = np.uint8(48), np.uint8(32)  # added to each five bits; where more follow


def rle_counts(ids: Int32[ndarray, "H W"]) -> dict[int, str]:
    """COCO compressed RLE of every nonzero id, byte-identical to `pycocotools.mask.encode`.

    One pass over the map serves all ids, so the cost hardly depends on how many there are.
    """
    runs = find_runs(ids)
    texts = _encode(runs.is_first, runs.starts, runs.ends, ids.size)
    return dict(zip(runs.ids[runs.is_first].tolist(), texts, strict=True))


def encode_runs(runs: PixelRuns) -> list[str]:
    """COCO compressed RLE of each segment; every segment has pixels."""
    order = stable_order(runs.owners)
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
    firsts = np.flatnonzero(is_first)
    lasts = np.append(firsts[1:], len(starts)) - 1
    seconds = firsts[lasts > firsts] + 1
    gaps, lengths = starts.copy(), ends - starts
    gaps[1:] -= ends[:-1]
    gaps[firsts] = starts[firsts]
    # COCO stores each number from the fourth on relative to the one two before.
    deltas = np.empty((len(starts), 2), np.int64)
    deltas[1:, 0], deltas[1:, 1] = np.diff(gaps), np.diff(lengths)
    deltas[firsts, 0], deltas[firsts, 1] = gaps[firsts], lengths[firsts]
    deltas[seconds, 0] = gaps[seconds]
    # Pixels after a segment's last run give one number more.
    has_tail = ends[lasts] < num_px
    tails = num_px - ends[lasts] - np.where(lasts > firsts, gaps[lasts], 0)
    numbers = np.insert(deltas.ravel(), 2 * lasts[has_tail] + 2, tails[has_tail])
    sizes = 2 * (lasts - firsts + 1) + has_tail

    text, num_chars = _compress(numbers)
    bounds = np.cumsum(np.add.reduceat(num_chars, np.cumsum(sizes) - sizes, dtype=np.int64))
    return [text[a:b] for a, b in pairwise([0, *bounds.tolist()])]


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


def _compress(deltas: Int64[ndarray, " N"]) -> tuple[str, UInt8[ndarray, " N"]]:
    """All numbers as text, and how many characters each one took."""
    rest = deltas.astype(np.int32)  # more than any number of pixels that we decode
    magnitudes = rest ^ (rest >> 31)
    num_chars = np.ones(len(rest), np.uint8)
    limit = 16  # a sign bit leaves four bits of the first character
    while limit <= magnitudes.max(initial=0):
        num_chars += magnitudes >= limit
        limit <<= 5
    ends = np.cumsum(num_chars, dtype=np.int32)
    text = np.empty(ends[-1], np.uint8)
    # Most deltas take one character: write the first of all, then the second of the rest, ...
    num_left, places = num_chars, ends - num_chars
    while rest.size:
        has_more = num_left > 1
        text[places] = (rest & 31).astype(np.uint8) + np.where(has_more, _MORE + _ZERO, _ZERO)
        left = np.flatnonzero(has_more)
        rest, num_left, places = rest[left] >> 5, num_left[left] - 1, places[left] + 1
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
