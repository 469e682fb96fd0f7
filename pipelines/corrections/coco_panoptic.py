"""Annotations in COCO panoptic format: a JSON, and a folder of id PNGs named like it."""

import json
from functools import partial
from pathlib import Path

from pipelines.corrections.annotation import AnnotatedImage, Region, other_size
from possam_core.evaluation.coco_panoptic import TrueImage, read_annotation, read_ground_truth


def read_coco_panoptic(path: Path) -> list[AnnotatedImage]:
    """The images of a COCO panoptic JSON.

    Raises:
        GroundTruthError: the file is missing or breaks the format.
    """
    truth = read_ground_truth(path)
    records = json.loads(path.read_text(encoding="utf-8"))["images"]  # which that has found sound
    image_ids = {str(record["file_name"]): record.get("image_id") for record in records}
    names = {category.id: category.name for category in truth.categories}
    return [
        AnnotatedImage(
            name=image.file_name,
            image_id=_text_or_none(image_ids[image.file_name]),
            read_regions=partial(_read_regions, image, names),
        )
        for image in truth.images
    ]


def _text_or_none(image_id: object) -> str | None:
    """The id of a planned image, as exports of a run add it to COCO's own number."""
    return image_id if isinstance(image_id, str) else None


def _read_regions(
    image: TrueImage, names: dict[int, str], image_hw: tuple[int, int]
) -> list[Region]:
    annotation = read_annotation(image)
    if annotation.ids.shape != image_hw:
        raise other_size(image.file_name, annotation.ids.shape, image_hw)
    return [
        Region(
            category_name=names[segment.category_id],
            is_crowd=segment.is_crowd,
            mask=annotation.ids == segment_id,
        )
        for segment_id, segment in image.segments.items()
    ]
