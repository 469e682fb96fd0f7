"""Cost of COCO's AP, next to pycocotools on the same records.

Both sides alternate in one process, the least of five times of the processor counts, and every
precision must be the same to the last bit. Prints a table and writes
`build/bench/average_precision.json`.
"""

import contextlib
import io
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json
from benchmarks.rle import make_ids
from benchmarks.timing import least_seconds
from possam_core.evaluation.average_precision import (
    Detection,
    ImageInstances,
    TrueInstance,
    average_precision,
)
from possam_core.labels.masks import areas_and_boxes
from possam_core.labels.rle import rle_counts

OUTPUT = Path("build/bench/average_precision.json")
IMAGE_HW = (480, 640)
NUM_MAPS = 8
NUM_EXTRA = 20  # detections of an image besides one of each true thing


def make_images(num_images: int, num_categories: int, *, seed: int = 0) -> list[ImageInstances]:
    """True things in cells; detections are cells a few pixels aside, some of another category."""
    rng = np.random.default_rng(seed)
    maps = [make_ids(*IMAGE_HW, num_segments=12, seed=seed + i) for i in range(NUM_MAPS)]
    cells = [(rle_counts(m), areas_and_boxes(m)) for m in maps]
    moved = [rle_counts(np.roll(m, (5, -4), (0, 1))) for m in maps]
    images = []
    for index in range(num_images):
        which = int(rng.integers(NUM_MAPS))
        counts, geometry = cells[which]
        category_of = {i: int(rng.integers(1, num_categories + 1)) for i in counts}
        guesses = [*counts, *rng.choice(list(counts), NUM_EXTRA).tolist()]
        detections = []
        for number, i in enumerate(guesses):
            is_right = number < len(counts) and rng.random() < 0.7
            category_id = category_of[i] if is_right else int(rng.integers(1, num_categories + 1))
            score = round(float(rng.random()), 2)  # some are equal
            detections.append(Detection(category_id=category_id, rle=moved[which][i], score=score))
        truth = [
            TrueInstance(
                category_id=category_of[i],
                rle=rle,
                area_px=geometry[i].area_px,
                is_crowd=bool(rng.random() < 0.05),
            )
            for i, rle in counts.items()
        ]
        images.append(
            ImageInstances(
                index=index, image_hw=IMAGE_HW, truth=tuple(truth), detections=tuple(detections)
            )
        )
    return images


def by_pycocotools(images: Sequence[ImageInstances], category_ids: Sequence[int]) -> ndarray:
    """Precision (T, R, K, A) of 100 detections an image."""
    shared = {
        "images": [
            {"id": i.index, "height": i.image_hw[0], "width": i.image_hw[1]} for i in images
        ],
        "categories": [{"id": i} for i in category_ids],
    }
    true = [
        _record(i, t.category_id, t.rle) | {"area": t.area_px, "iscrowd": int(t.is_crowd)}
        for i in images
        for t in i.truth
    ]
    found = [
        _record(i, d.category_id, d.rle) | {"score": d.score} for i in images for d in i.detections
    ]
    for record in found:
        record["area"] = float(coco_mask.area(record["segmentation"]))
    both = []
    with contextlib.redirect_stdout(io.StringIO()):
        for records in (true, found):
            for number, record in enumerate(records, start=1):
                record["id"] = number
            coco = COCO()
            coco.dataset = shared | {"annotations": records}
            coco.createIndex()
            both.append(coco)
        evaluation = COCOeval(*both, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
    precision: ndarray = evaluation.eval["precision"][..., -1]
    return precision


def _record(image: ImageInstances, category_id: int, rle: str) -> dict[str, Any]:
    return {
        "image_id": image.index,
        "category_id": category_id,
        "segmentation": {"size": list(image.image_hw), "counts": rle},
    }


def measure(num_images: int, num_categories: int) -> dict[str, object]:
    """Times of both sides, after checking that both give the same figures."""
    images, category_ids = make_images(num_images, num_categories), range(1, num_categories + 1)
    precision = by_pycocotools(images, category_ids)[..., 0]
    assert average_precision(images, category_ids).ap == float(np.mean(precision[precision > -1]))
    ours, theirs = least_seconds(
        lambda: average_precision(images, category_ids),
        lambda: by_pycocotools(images, category_ids),
        clock=time.process_time,
    )
    return {
        "images": num_images,
        "categories": num_categories,
        "ours_s": round(ours, 3),
        "pycocotools_s": round(theirs, 3),
        "times_as_fast": round(theirs / ours, 1),
    }


def main() -> None:
    """Measure, print, write."""
    rows = [measure(300, 80), measure(300, 8)]
    table = Table(*rows[0], title=f"Average precision, {platform.machine()}")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    write_json(OUTPUT, rows)


if __name__ == "__main__":
    main()
