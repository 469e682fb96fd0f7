"""COCO panoptic, written and read: a JSON, and a folder of id PNGs with the same name."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.formats.annotation import AnnotatedImage, Region, other_size
from possam_core.evaluation.coco_panoptic import TrueImage, read_annotation, read_ground_truth
from possam_core.labels.masks import AreaAndBox

Record = dict[str, Any]  # fit for JSON


def category_record(
    category_id: int, name: str, *, is_thing: bool, colour: tuple[int, int, int]
) -> Record:
    """The JSON record of a class."""
    return {
        "id": category_id,
        "name": name,
        "supercategory": "thing" if is_thing else "stuff",
        "isthing": int(is_thing),
        "color": list(colour),
    }


def segment_record(
    segment_id: int, category_id: int, geometry: AreaAndBox, *, is_crowd: bool, score: float
) -> Record:
    """The JSON record of a segment, with its score, which is not part of COCO's format."""
    return {
        "id": segment_id,
        "category_id": category_id,
        "area": geometry.area_px,
        "bbox": list(geometry.bbox_xywh),
        "iscrowd": int(is_crowd),
        "score": round(score, 6),
    }


def image_record(
    file_name: str, image_hw: tuple[int, int], facts: Mapping[str, str | int]
) -> Record:
    """The JSON record of an image, without its number.

    Args:
        file_name: of the image.
        image_hw: its size in pixels.
        facts: further fields; corrections are matched by `image_id`.
    """
    height, width = image_hw
    return {"file_name": file_name, "width": width, "height": height, **facts}


def annotation_record(png_name: str, segments: Sequence[Record]) -> Record:
    """The JSON record of an image's PNG, without the numbers of either."""
    return {"file_name": png_name, "segments_info": [*segments]}


def read_coco_panoptic(path: Path) -> list[AnnotatedImage]:
    """The images of a COCO panoptic JSON.

    Raises:
        GroundTruthError: the file is missing or breaks the format.
    """
    truth = read_ground_truth(path)
    names = {category.id: category.name for category in truth.categories}
    return [
        AnnotatedImage(
            name=image.file_name,
            image_id=image.image_id,
            read_regions=partial(_read_regions, image, names),
        )
        for image in truth.images
    ]


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
