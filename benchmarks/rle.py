"""Cost of the COCO RLE of a whole label map, next to pycocotools on each segment in turn.

Both sides alternate in one process, the least of five times counts, and every byte must agree.
Prints a table and writes `build/bench/rle.json`.
"""

import platform
from pathlib import Path

import numpy as np
from numpy import ndarray
from pycocotools import mask as coco_mask
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

from benchmarks.report import write_json
from benchmarks.timing import least_seconds
from possam_core.labels.rle import rle_counts

OUTPUT = Path("build/bench/rle.json")
NUM_MAPS = 8  # of each kind
MAPS = [(480, 640, 12), (480, 640, 20), (480, 640, 50), (1024, 1024, 20), (1024, 1024, 50)]


def make_ids(height: int, width: int, num_segments: int, seed: int = 0) -> ndarray:
    """Cells around random centres, with borders that waver by a few pixels, and one in ten void."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1, (num_segments, 2)) * (height, width)
    rows, columns = np.mgrid[:height, :width]
    waver = 4 * np.sin(rows / 9) + 4 * np.cos(columns / 7)
    places = np.stack([rows + waver, columns - waver], axis=-1)
    nearest = cKDTree(centres).query(places)[1].astype(np.int32)
    return np.where(nearest % 10 == 9, 0, nearest + 1).astype(np.int32)


def by_pycocotools(ids: ndarray, segments: list[int]) -> dict[int, str]:
    """RLE of each segment by itself."""
    return {
        i: coco_mask.encode(np.asfortranarray(ids == i, dtype=np.uint8))["counts"].decode()
        for i in segments
    }


def measure(height: int, width: int, num_segments: int) -> dict[str, object]:
    """Times per map, over several maps, after checking that both sides give equal bytes."""
    maps = [make_ids(height, width, num_segments, seed) for seed in range(NUM_MAPS)]
    segments = [np.unique(ids[ids > 0]).tolist() for ids in maps]
    for ids, names in zip(maps, segments, strict=True):
        assert rle_counts(ids) == by_pycocotools(ids, names)
    ours, theirs = least_seconds(
        lambda: [rle_counts(ids) for ids in maps],
        lambda: [by_pycocotools(*pair) for pair in zip(maps, segments, strict=True)],
    )
    return {
        "map": f"{width} x {height}",
        "segments": round(sum(map(len, segments)) / NUM_MAPS, 1),
        "ours_ms": round(1e3 * ours / NUM_MAPS, 2),
        "pycocotools_ms": round(1e3 * theirs / NUM_MAPS, 2),
        "times_as_fast": round(theirs / ours, 1),
    }


def main() -> None:
    """Measure, print, write."""
    rows = [measure(*size) for size in MAPS]
    table = Table(*rows[0], title=f"RLE, {platform.machine()}")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    write_json(OUTPUT, rows)


if __name__ == "__main__":
    main()
