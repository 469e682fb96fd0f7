"""Pure mask geometry: runs, areas and boxes of all ids of a map at once.

Axes: H W pixels of the image, R runs of equal ids.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, Int64, Integer
from numpy import ndarray

VOID_ID = 0  # in an id map: of pixels that belong to no segment


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaAndBox:
    """Size and place of one segment."""

    area_px: int
    bbox_xywh: tuple[int, int, int, int]  # in pixels; x y of the top-left pixel


@dataclass(frozen=True, slots=True, kw_only=True)
class IdRuns:
    """Runs of one id each, in COCO's column-major order, sorted by id, then by place."""

    ids: Int32[ndarray, " R"]
    starts: Int64[ndarray, " R"]  # position of the first pixel
    ends: Int64[ndarray, " R"]  # position after the last pixel
    is_first: Bool[ndarray, " R"]  # of its id
    is_last: Bool[ndarray, " R"]  # of its id


def areas_and_boxes(ids: Int32[ndarray, "H W"]) -> dict[int, AreaAndBox]:
    """Area and bounding box of every nonzero id, whatever the ids' range."""
    runs = find_runs(ids)
    if not runs.ids.size:
        return {}
    left, top, right, bottom = run_corners(runs.starts, runs.ends, ids.shape[0])
    firsts = np.flatnonzero(runs.is_first)
    areas = np.add.reduceat(runs.ends - runs.starts, firsts)
    left, top = np.minimum.reduceat(left, firsts), np.minimum.reduceat(top, firsts)
    right, bottom = np.maximum.reduceat(right, firsts), np.maximum.reduceat(bottom, firsts)
    rows = np.stack([runs.ids[firsts], areas, left, top, right - left + 1, bottom - top + 1], 1)
    return {i: AreaAndBox(area_px=a, bbox_xywh=(x, y, w, h)) for i, a, x, y, w, h in rows.tolist()}


def run_corners(
    starts: Int64[ndarray, " R"], ends: Int64[ndarray, " R"], height: int
) -> tuple[Int64[ndarray, " R"], ...]:
    """The first column, first row, last column and last row that each run touches."""
    lasts = ends - 1
    left, right = starts // height, lasts // height  # much faster than divmod
    top, bottom = starts - left * height, lasts - right * height
    wraps = right > left  # then it touches the bottom of one column and the top of the next
    return left, np.where(wraps, 0, top), right, np.where(wraps, height - 1, bottom)


def present_ids(ids: Int32[ndarray, "H W"]) -> set[int]:
    """Every value of the map, zero too; much faster than sorting or hashing all of its pixels."""
    return set(np.unique(ids.ravel()[row_runs(ids)]).tolist())


def id_areas(ids: Int32[ndarray, "H W"]) -> dict[int, int]:
    """The number of pixels of every value of the map, zero too."""
    starts = row_runs(ids)
    values, which = np.unique(ids.ravel()[starts], return_inverse=True)
    areas = np.bincount(which, weights=np.diff(starts, append=ids.size))
    return dict(zip(values.tolist(), map(int, areas.tolist()), strict=True))


def row_runs(*maps: Int32[ndarray, "H W"]) -> Int64[ndarray, " R"]:
    """The first pixels, row by row, of runs within which no map changes."""
    is_start = np.ones(maps[0].size, np.bool_)
    is_start[1:] = False
    for ids in maps:
        pixels = ids.ravel()
        is_start[1:] |= pixels[1:] != pixels[:-1]
    return np.flatnonzero(is_start)


def stable_order(names: Integer[ndarray, " R"]) -> Int64[ndarray, " R"]:
    """Positions by name, equal ones as they come; small names are sorted ten times as fast."""
    is_small = names.size and names.min() >= 0 and names.max() < 2**16
    return np.argsort(names.astype(np.uint16) if is_small else names, kind="stable")


def column_runs(
    values: Int32[ndarray, "H W"],
) -> tuple[Int64[ndarray, " R"], Int32[ndarray, " R"]]:
    """The first pixel of each run of one value, down the columns, and the value."""
    # Comparing whole rows and sorting the few places found beats transposing the map.
    is_start = np.empty(values.shape, dtype=np.bool_)
    is_start[1:] = values[1:] != values[:-1]
    is_start[:1, 1:] = values[:1, 1:] != values[-1:, :-1]
    is_start[:1, :1] = True
    height, width = max(values.shape[0], 1), max(values.shape[1], 1)
    places = np.flatnonzero(is_start)
    rows = places // width
    starts = np.sort((places - rows * width) * height + rows)
    columns = starts // height
    return starts, values.ravel()[(starts - columns * height) * width + columns]


def find_runs(ids: Int32[ndarray, "H W"]) -> IdRuns:
    """Runs of every nonzero id."""
    starts, names = column_runs(ids)
    ends = np.append(starts[1:], ids.size)[: starts.size]

    kept = np.flatnonzero(names)
    kept = kept[stable_order(names[kept])]
    starts, ends, names = starts[kept], ends[kept], names[kept]
    borders = names[1:] != names[:-1]
    edge = np.ones(min(names.size, 1), dtype=np.bool_)
    return IdRuns(
        ids=names,
        starts=starts,
        ends=ends,
        is_first=np.concatenate([edge, borders]),
        is_last=np.concatenate([borders, edge]),
    )
