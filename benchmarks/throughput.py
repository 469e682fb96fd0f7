"""How fast possam-tiny labels playground scenes, and what RLE costs next to pycocotools.

Both sides of a comparison alternate in one process, and the least of five times counts. Prints a
table and writes `build/bench/throughput.json`.
"""

import json
import platform
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as coco_mask
from rich.console import Console
from rich.table import Table

from benchmarks.timing import least_seconds
from possam_core.masks import rle_counts
from possam_core.playground import generate_scene
from possam_core.predictor import load_predictor

OUTPUT = Path("build/bench/throughput.json")
NUM_SCENES = 32


def predictor_rows() -> list[tuple[str, str]]:
    """Images per second of the bare predictor, by batch size."""
    predictor = load_predictor("possam-tiny")
    images = [generate_scene(1, i).image for i in range(NUM_SCENES)]

    def label_in_batches(size: int) -> None:
        for start in range(0, NUM_SCENES, size):
            predictor(images[start : start + size])

    seconds = least_seconds(lambda: label_in_batches(1), lambda: label_in_batches(8))
    return [
        (f"predictor, batch {size}", f"{NUM_SCENES / s:.1f} images/s")
        for size, s in zip((1, 8), seconds, strict=True)
    ]


def rle_row(side: int, num_segments: int) -> tuple[str, str]:
    """One-pass RLE of a whole map against pycocotools on each mask."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, side, (num_segments, 2))
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1)
    distances = ((grid[:, :, None] - centres) ** 2).sum(axis=-1)
    ids = distances.argmin(axis=-1).astype(np.int32) + 1

    def one_by_one() -> None:
        for i in range(1, num_segments + 1):
            coco_mask.encode(np.asfortranarray(ids == i, dtype=np.uint8))

    ours, theirs = least_seconds(lambda: rle_counts(ids), one_by_one)
    return f"RLE {side} x {side}, {num_segments} segments", (
        f"{1e3 * ours:.1f} ms, {theirs / ours:.1f} times pycocotools"
    )


def main() -> None:
    """Measure, print, write."""
    rows = [*predictor_rows(), rle_row(512, 20), rle_row(1024, 50)]
    table = Table(
        "what", "measured", title=f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(dict(rows), indent=2))


if __name__ == "__main__":
    main()
