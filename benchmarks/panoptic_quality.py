"""Cost of PQ from pairs of id PNGs, next to panopticapi's way, written from its rules.

Both sides alternate in one process, the least of five times of one thread's processor counts, and
matches and IoUs must agree. Prints a table and writes `build/bench/panoptic_quality.json`.
"""

import io
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy import ndarray
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json
from benchmarks.rle import make_ids
from benchmarks.timing import least_seconds
from possam_core.evaluation.panoptic_quality import (
    PanopticAnnotation,
    PanopticQualityCounts,
    count_matches,
)
from possam_core.labels.id_colours import read_id_png, rgb_from_ids
from possam_core.labels.masks import id_areas

OUTPUT = Path("build/bench/panoptic_quality.json")
NUM_PAIRS = 8
CATEGORY = 1  # of all segments
PAIR_BASE = 2**24  # above all ids

Pair = tuple[io.BytesIO, io.BytesIO]


def make_pair(height: int, width: int, num_segments: int, seed: int) -> Pair:
    """PNGs of the truth and of labels a few pixels aside."""
    ids = make_ids(height, width, num_segments, seed)
    files = []
    for one in (ids, np.roll(ids, (6, -5), (0, 1))):
        Image.fromarray(rgb_from_ids(one)).save(file := io.BytesIO(), "PNG")
        files.append(file)
    return files[0], files[1]


def ours(pair: Pair) -> tuple[int, float]:
    """True positives, and the sum of their IoUs."""
    both = []
    for file in pair:
        ids = read_id_png(file, "a.png")
        both.append(
            PanopticAnnotation(
                ids=ids, category_ids=dict.fromkeys(id_areas(ids).keys() - {0}, CATEGORY)
            )
        )
    counts: PanopticQualityCounts = count_matches(*both)
    return counts.per_category[CATEGORY].tp, counts.per_category[CATEGORY].iou_sum


def by_unique(pair: Pair) -> tuple[int, float]:
    """The same by sorting all pixels: those of the labels, and the pairs of both maps."""
    true, found = (_ids_by_arithmetic(file) for file in pair)
    areas = [
        dict(zip(*(x.tolist() for x in np.unique(m, return_counts=True)), strict=True))
        for m in (true, found)
    ]
    pairs = true.astype(np.uint64) * PAIR_BASE + found.astype(np.uint64)
    values, sizes = np.unique(pairs, return_counts=True)
    shared = {divmod(int(v), PAIR_BASE): int(n) for v, n in zip(values, sizes, strict=True)}
    num_matched, iou_sum = 0, 0.0
    for (i, j), intersection in shared.items():
        if i and j:
            union = areas[0][i] + areas[1][j] - intersection - shared.get((0, j), 0)
            if intersection / union > 0.5:
                num_matched, iou_sum = num_matched + 1, iou_sum + intersection / union
    return num_matched, iou_sum


def _ids_by_arithmetic(file: io.BytesIO) -> ndarray:
    rgb = np.array(Image.open(file), np.uint32)
    ids: ndarray = rgb[:, :, 0] + 256 * rgb[:, :, 1] + 256 * 256 * rgb[:, :, 2]
    return ids


def measure(height: int, width: int, num_segments: int) -> dict[str, object]:
    """Times of a pair, after checking that both sides agree."""
    pairs = [make_pair(height, width, num_segments, seed) for seed in range(NUM_PAIRS)]
    for pair in pairs:
        assert ours(pair)[0] == by_unique(pair)[0]
        assert abs(ours(pair)[1] - by_unique(pair)[1]) < 1e-9

    def all_by(way: Callable[[Pair], object]) -> Callable[[], object]:
        return lambda: [way(pair) for pair in pairs]

    seconds = least_seconds(
        all_by(ours), all_by(by_unique), all_by(_decode), clock=time.thread_time
    )
    ours_ms, theirs_ms, decoding_ms = (1e3 * s / NUM_PAIRS for s in seconds)
    return {
        "map": f"{width} x {height}",
        "ours_ms": round(ours_ms, 2),
        "by_unique_ms": round(theirs_ms, 2),
        "times_as_fast": round(theirs_ms / ours_ms, 1),
        "decoding_ms": round(decoding_ms, 2),
    }


def _decode(pair: Pair) -> None:
    for file in pair:
        Image.open(file).load()


def main() -> None:
    """Measure, print, write."""
    rows = [measure(480, 640, 12), measure(768, 1024, 30)]
    table = Table(*rows[0], title=f"PQ of a pair of PNGs, {platform.machine()}")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    write_json(OUTPUT, rows)


if __name__ == "__main__":
    main()
