"""Read ground truth in COCO panoptic format: a JSON and one id PNG per image.

The PNGs lie in the folder named like the JSON without its suffix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from possam_core.errors import GroundTruthError
from possam_core.evaluation.coco_json import (
    AnnotationRecord,
    annotations_of,
    flag,
    is_crowd,
    missing_fields_named,
    parse_json,
)
from possam_core.evaluation.panoptic_quality import PanopticAnnotation, TrueCategory
from possam_core.labels.id_colours import read_id_png
from possam_core.labels.masks import VOID_ID, id_areas


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueSegment:
    """One entry of an annotation's `segments_info`."""

    category_id: int
    is_crowd: bool
    area_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueImage:
    """One annotated image; its map stays on disk until `read_annotation`."""

    file_name: str  # of the image
    png_path: Path
    segments: Mapping[int, TrueSegment]  # by segment id
    image_id: str | None = None  # of a planned image, as exports of a run add it


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticGroundTruth:
    """The contents of a COCO panoptic JSON."""

    categories: tuple[TrueCategory, ...]
    images: tuple[TrueImage, ...]


def read_ground_truth(path: Path) -> PanopticGroundTruth:
    """Read and check the JSON; the PNGs are read later.

    Raises:
        GroundTruthError: the file is missing, is not JSON, or breaks the format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise GroundTruthError(
            f"expected a COCO panoptic JSON at {path}, but it could not be read"
            f" ({error.strerror}); check the path"
        ) from error
    parsed = parse_json(content, str(path))
    with missing_fields_named(str(path)):
        categories = tuple(_category(record) for record in parsed["categories"])
        known = {category.id for category in categories}
        images = tuple(
            _true_image(path, record, known) for record in annotations_of(parsed, str(path))
        )
    return PanopticGroundTruth(categories=categories, images=images)


def read_annotation(image: TrueImage) -> PanopticAnnotation:
    """Read an image's id PNG and check it against its segments.

    Raises:
        GroundTruthError: the PNG is unreadable, or its ids or areas are not those of the JSON.
    """
    ids = read_id_png(image.png_path, str(image.png_path))
    found = {i: area for i, area in id_areas(ids).items() if i != VOID_ID}
    if extra := sorted(set(found) - set(image.segments)):
        raise GroundTruthError(f"{image.png_path} holds ids {extra} that its JSON does not name")
    for segment_id, segment in image.segments.items():
        if found.get(segment_id, 0) != segment.area_px:
            raise GroundTruthError(
                f"{image.png_path} gives segment {segment_id} {found.get(segment_id, 0)} pixels,"
                f" but its JSON says {segment.area_px}"
            )
    return PanopticAnnotation(
        ids=ids,
        category_ids={i: s.category_id for i, s in image.segments.items()},
        crowd_ids=frozenset(i for i, s in image.segments.items() if s.is_crowd),
    )


def _category(record: Mapping[str, Any]) -> TrueCategory:
    return TrueCategory(
        id=int(record["id"]),
        name=str(record["name"]),
        is_thing=flag(record["isthing"], "isthing"),
        is_seen=bool(record["seen"]) if "seen" in record else None,
    )


def _true_image(json_path: Path, record: AnnotationRecord, known_categories: set[int]) -> TrueImage:
    segments: dict[int, TrueSegment] = {}
    for segment_id, info in zip(record.ids, record.segments, strict=True):
        if info["category_id"] not in known_categories:
            raise GroundTruthError(
                f"{json_path}: segment {segment_id} of {record.file_name} has the unknown category"
                f" {info['category_id']}"
            )
        segments[segment_id] = TrueSegment(
            category_id=info["category_id"], is_crowd=is_crowd(info), area_px=info["area"]
        )
    image_id = record.image.get("image_id")
    return TrueImage(
        file_name=record.file_name,
        png_path=json_path.with_suffix("") / record.png_name,
        segments=segments,
        image_id=image_id if isinstance(image_id, str) else None,
    )
