"""Pure mask geometry: areas, boxes and COCO run-length encoding of a whole id map at once.

Axes: H W pixels of the image, R runs of equal ids, N counts or deltas of counts.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, Int64
from numpy import ndarray

VOID_ID = 0  # in an id map: of pixels that belong to no segment
_MAX_CHARS = 8  # 40 bits, more than any count of a 32-bit image


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaAndBox:
    """Size and place of one segment."""

    area_px: int
    bbox_xywh: tuple[int, int, int, int]  # in pixels; x y of the top-left pixel


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runs:
    """Runs of one id each, in COCO's column-major order, sorted by id, then by place."""

    ids: Int32[ndarray, " R"]
    starts: Int64[ndarray, " R"]  # position of the first pixel
    ends: Int64[ndarray, " R"]  # position after the last pixel
    is_first: Bool[ndarray, " R"]  # of its id
    is_last: Bool[ndarray, " R"]  # of its id


def rle_counts(ids: Int32[ndarray, "H W"]) -> dict[int, str]:
    """COCO compressed RLE of every nonzero id, byte-identical to `pycocotools.mask.encode`.

    One pass over the map serves all ids, so the cost hardly depends on how many there are.
    """
    runs = _find_runs(ids)
    if not runs.ids.size:
        return {}
    has_tail = runs.is_last & (runs.ends < ids.size)
    previous_ends = np.where(runs.is_first, 0, np.roll(runs.ends, 1))
    # Each run gives two counts, the gap before it and its length; pixels after an id's last run
    # give one more.
    places = 2 * np.arange(len(runs.ids)) + np.cumsum(has_tail) - has_tail
    counts = np.empty(2 * len(runs.ids) + int(has_tail.sum()), np.int64)
    counts[places] = runs.starts - previous_ends
    counts[places + 1] = runs.ends - runs.starts
    counts[places[has_tail] + 2] = ids.size - runs.ends[has_tail]

    first_places = places[runs.is_first]
    num_counts = np.diff(first_places, append=len(counts))
    index_in_id = np.arange(len(counts)) - np.repeat(first_places, num_counts)
    deltas = counts.copy()  # COCO stores each count from the fourth on relative to two before
    deltas[2:] -= np.where(index_in_id[2:] > 2, counts[:-2], 0)

    text, num_chars = _compress(deltas)
    ends = np.cumsum(num_chars)
    text_starts = (ends - num_chars)[first_places].tolist()
    text_ends = [*text_starts[1:], len(text)]
    names = runs.ids[runs.is_first].tolist()
    return {i: text[a:b] for i, a, b in zip(names, text_starts, text_ends, strict=True)}


def areas_and_boxes(ids: Int32[ndarray, "H W"]) -> dict[int, AreaAndBox]:
    """Area and bounding box of every nonzero id, whatever the ids' range."""
    runs = _find_runs(ids)
    if not runs.ids.size:
        return {}
    height = ids.shape[0]
    left, top = np.divmod(runs.starts, height)
    right, bottom = np.divmod(runs.ends - 1, height)
    wraps = right > left  # then it touches the bottom of one column and the top of the next
    top, bottom = np.where(wraps, 0, top), np.where(wraps, height - 1, bottom)

    firsts = np.flatnonzero(runs.is_first)
    areas = np.add.reduceat(runs.ends - runs.starts, firsts)
    left, top = np.minimum.reduceat(left, firsts), np.minimum.reduceat(top, firsts)
    right, bottom = np.maximum.reduceat(right, firsts), np.maximum.reduceat(bottom, firsts)
    rows = np.stack([runs.ids[firsts], areas, left, top, right - left + 1, bottom - top + 1], 1)
    return {i: AreaAndBox(area_px=a, bbox_xywh=(x, y, w, h)) for i, a, x, y, w, h in rows.tolist()}


def present_ids(ids: Int32[ndarray, "H W"]) -> set[int]:
    """Every value of the map, zero too; much faster than sorting or hashing all of its pixels."""
    pixels = ids.ravel()
    is_end = np.ones(pixels.shape, dtype=np.bool_)
    is_end[:-1] = pixels[1:] != pixels[:-1]
    return set(np.unique(pixels[is_end]).tolist())


def _find_runs(ids: Int32[ndarray, "H W"]) -> _Runs:
    """Runs of every nonzero id."""
    # Comparing whole rows and sorting the few places found beats transposing the map.
    is_start = np.empty(ids.shape, dtype=np.bool_)
    is_start[1:] = ids[1:] != ids[:-1]
    is_start[:1, 1:] = ids[:1, 1:] != ids[-1:, :-1]
    is_start[:1, :1] = True
    places = np.flatnonzero(is_start)
    rows, columns = np.divmod(places, max(ids.shape[1], 1))
    starts = columns * ids.shape[0] + rows
    order = np.argsort(starts, kind="stable")
    starts, names = starts[order], ids.ravel()[places[order]]
    ends = np.append(starts[1:], ids.size)[: starts.size]

    kept = np.flatnonzero(names)
    kept = kept[np.argsort(names[kept], kind="stable")]
    starts, ends, names = starts[kept], ends[kept], names[kept]
    borders = names[1:] != names[:-1]
    edge = np.ones(min(names.size, 1), dtype=np.bool_)
    return _Runs(
        ids=names,
        starts=starts,
        ends=ends,
        is_first=np.concatenate([edge, borders]),
        is_last=np.concatenate([borders, edge]),
    )


def _compress(deltas: Int64[ndarray, " N"]) -> tuple[str, Int64[ndarray, " N"]]:
    """All deltas in COCO's signed base 32, and how many characters each one took.

    Five bits a character from the lowest up, bit 6 set where more follow, plus 48 to be ASCII.
    """
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
