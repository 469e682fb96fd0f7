"""Tables of labelled images, written down by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.export.classes import ClassMap, choose_classes
from pipelines.export.example import Example, make_examples
from pipelines.run.classes import Category
from pipelines.schema import OK, ROW_SCHEMA
from possam_core.labels.rle import rle_counts

PERSON, CAR, SKY, SEA = (
    Category(id=id_, name=name, is_thing=is_thing, is_seen=True)
    for id_, name, is_thing in [
        (7, "person", True),
        (9, "car", True),
        (3, "sky", False),
        (4, "sea", False),
    ]
)
CATEGORIES = (SKY, SEA, PERSON, CAR)  # of the run, by id


def make_row(
    ids: Sequence[Sequence[int]], classes: Sequence[Category], **changes: Any
) -> dict[str, Any]:
    """An image whose segments 1, 2, ... have these classes."""
    pixels = np.array(ids, np.int32)
    counts = rle_counts(pixels)
    segments = [
        {
            "id": i,
            "category_id": category.id,
            "iscrowd": False,
            "score": 0.5,
            "segmentation": {"size": list(pixels.shape), "counts": counts[i]},
        }
        for i, category in enumerate(classes, start=1)
    ]
    row = {
        "image_id": "an-image",
        "uri": "/photos/1.jpg",
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "exif_orientation": 1,
        "status": OK,
        "segments_info": segments,
        "quality": {"grade": "B", "reasons": []},
    }
    return row | changes


def make_table(*rows: dict[str, Any]) -> pa.Table:
    """Rows as a shard has them; what an export has no use for is null."""
    return pa.Table.from_pylist(list(rows), schema=ROW_SCHEMA)


def make_classes(choice: str | None = None) -> ClassMap:
    """All classes, or those that are chosen."""
    return choose_classes(CATEGORIES, choice)


def make_example(
    ids: Sequence[Sequence[int]], classes: Sequence[Category], choice: str | None = None
) -> Example:
    """One image as an export sees it."""
    (example,) = make_examples(make_table(make_row(ids, classes)), make_classes(choice))
    return example
