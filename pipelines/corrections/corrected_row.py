"""An annotator's regions -> the row that replaces the model's.

Axes: H W pixels of the image.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from pipelines.formats.annotation import Region, refuse
from pipelines.run.classes import Category
from pipelines.schema import LabelledRow, QualityRecord, SegmentInfo
from possam_core.errors import nearest
from possam_core.labels.masks import areas_and_boxes
from possam_core.labels.rle import rle_counts

Measured: TypeAlias = Literal[
    "predicted_iou", "margin", "stability_score", "entropy", "clip_agrees"
]
# What the measures of the model's confidence become in a segment that a person has drawn.
BEST: dict[Measured, Any] = {
    "predicted_iou": 1.0,
    "margin": 1.0,
    "stability_score": 1.0,
    "entropy": 0.0,
    "clip_agrees": True,
}


def corrected_row(
    row: LabelledRow, regions: Sequence[Region], categories: Mapping[str, Category], *, image: str
) -> LabelledRow:
    """The row of a labelled image with the annotator's segments.

    Regions of one stuff class become one segment. A person has checked the image, so the measures
    of the model's confidence get their best values, but those that the model does not know of any
    segment of the image stay null. `boundary_sharpness`, which cannot be
    recomputed without the image's pixels, keeps the value of the model's labels.

    Args:
        row: the model's.
        regions: all regions of the image; those of different segments may not overlap.
        categories: the run's, by name.
        image: the image's name in errors.

    Raises:
        ConfigError: a class is not one of the run's, a region is empty, or two overlap.
    """
    image_hw = (row["height"], row["width"])
    ids = np.zeros(image_hw, np.int32)
    segments: list[tuple[Category, bool]] = []  # the class and whether it is a crowd, by id - 1
    stuff_ids: dict[str, int] = {}
    for region in regions:
        category = _category(region, categories, image)
        segment_id = stuff_ids.get(category.name, len(segments) + 1)
        taken = ids[region.mask]
        if not taken.size:
            raise refuse(
                image, f"a region of {category.name!r} covers no pixel", "enlarge or delete it"
            )
        if others := set(np.unique(taken).tolist()) - {0, segment_id}:
            other = segments[min(others) - 1][0]
            raise refuse(
                image,
                f"a region of {category.name!r} and one of {other.name!r} overlap",
                "give each pixel to one of them",
            )
        ids[region.mask] = segment_id
        if segment_id > len(segments):
            segments.append((category, region.is_crowd))
        if not category.is_thing:
            stuff_ids[category.name] = segment_id
    best = _best_of_known(row)
    records = _records(ids, segments, best)
    corrected = row.copy()
    corrected["segments_info"] = records
    corrected["quality"] = _quality(records, ids.size, row["quality"]["boundary_sharpness"], best)
    return corrected


def _category(region: Region, categories: Mapping[str, Category], image: str) -> Category:
    found = categories.get(region.category_name)
    if found is None:
        hint = nearest(region.category_name, categories, otherwise="use a class of the run")
        raise refuse(image, f"the run has no class {region.category_name!r}", hint)
    return found


def _best_of_known(row: LabelledRow) -> dict[Measured, Any]:
    """BEST with None for what the model does not know."""
    segments = row["segments_info"]
    if not segments:  # only the numbers of schema 2 tell that the model knows all
        return {
            name: best if row["quality"]["entropy"] is not None else None
            for name, best in BEST.items()
        }
    return {
        name: best if any(s[name] is not None for s in segments) else None
        for name, best in BEST.items()
    }


def _records(
    ids: np.ndarray, segments: Sequence[tuple[Category, bool]], best: Mapping[Measured, Any]
) -> list[SegmentInfo]:
    geometry, counts = areas_and_boxes(ids), rle_counts(ids)
    return [
        {
            "id": segment_id,
            "category_id": category.id,
            "category_name": category.name,
            "isthing": category.is_thing,
            "iscrowd": is_crowd,
            "area": geometry[segment_id].area_px,
            "bbox": list(geometry[segment_id].bbox_xywh),
            "is_seen": category.is_seen,
            "segmentation": {"size": list(ids.shape), "counts": counts[segment_id]},
            "score": 1.0,
            "predicted_iou": best["predicted_iou"],
            "margin": best["margin"],
            "stability_score": best["stability_score"],
            "entropy": best["entropy"],
            "clip_agrees": best["clip_agrees"],
        }
        for segment_id, (category, is_crowd) in enumerate(segments, start=1)
    ]


def _quality(
    records: Sequence[SegmentInfo], num_px: int, sharpness: float, best: Mapping[Measured, Any]
) -> QualityRecord:
    coverage = sum(record["area"] for record in records) / num_px
    num_things = sum(record["isthing"] for record in records)
    return {
        "coverage": coverage,
        "void_frac": 1.0 - coverage,
        "num_things": num_things,
        "num_stuff": len(records) - num_things,
        "mean_score": 1.0,
        "min_score": 1.0,
        "mean_predicted_iou": best["predicted_iou"],
        "entropy": best["entropy"],
        "clip_agreement": None if best["clip_agrees"] is None else 1.0,
        "boundary_sharpness": sharpness,
        "consistency": None,
        "grade": "A",
        "reasons": ["corrected"],
    }
