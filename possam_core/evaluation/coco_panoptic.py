"""Read ground truth in COCO panoptic format: a JSON and one id PNG per image.

The PNGs lie in the folder named like the JSON without its suffix.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from possam_core.errors import GroundTruthError
from possam_core.evaluation.panoptic_quality import PanopticAnnotation, TrueCategory
from possam_core.labels.id_colours import read_id_png
from possam_core.labels.masks import VOID_ID


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
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GroundTruthError(
            f"expected a COCO panoptic JSON at {path}, but it could not be read"
            f" ({error.strerror}); check the path"
        ) from error
    except ValueError as error:
        raise GroundTruthError(
            f"expected JSON in {path}, but it does not parse: {error}"
        ) from error
    try:
        categories = tuple(_category(record) for record in content["categories"])
        file_names = {record["id"]: str(record["file_name"]) for record in content["images"]}
        known = {category.id for category in categories}
        images = tuple(
            _true_image(path, file_names[record["image_id"]], record, known)
            for record in content["annotations"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise GroundTruthError(
            f"expected COCO panoptic categories, images and annotations in {path}, but one of them"
            f" is missing or misses a field ({type(error).__name__}: {error})"
        ) from error
    return PanopticGroundTruth(categories=categories, images=images)


def read_annotation(image: TrueImage) -> PanopticAnnotation:
    """Read an image's id PNG and check it against its segments.

    Raises:
        GroundTruthError: the PNG is unreadable, or its ids or areas are not those of the JSON.
    """
    ids = read_id_png(image.png_path, str(image.png_path))
    values, areas = np.unique(ids, return_counts=True)
    found = {i: a for i, a in zip(values.tolist(), areas.tolist(), strict=True) if i != VOID_ID}
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
        is_thing=bool(record["isthing"]),
        is_seen=bool(record["seen"]) if "seen" in record else None,
    )


def _true_image(
    json_path: Path, file_name: str, record: Mapping[str, Any], known_categories: set[int]
) -> TrueImage:
    segments: dict[int, TrueSegment] = {}
    for info in record["segments_info"]:
        if info["id"] in segments or info["id"] == VOID_ID:
            raise GroundTruthError(
                f"{json_path}: segment ids of {file_name} must be positive and unique, got"
                f" {info['id']}"
            )
        if info["category_id"] not in known_categories:
            raise GroundTruthError(
                f"{json_path}: segment {info['id']} of {file_name} has the unknown category"
                f" {info['category_id']}"
            )
        segments[info["id"]] = TrueSegment(
            category_id=info["category_id"],
            is_crowd=bool(info.get("iscrowd", 0)),
            area_px=info["area"],
        )
    png_path = json_path.with_suffix("") / str(record["file_name"])
    return TrueImage(file_name=file_name, png_path=png_path, segments=segments)
