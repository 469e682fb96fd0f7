"""The JSON of COCO panoptic: its annotations with their images, checked against the format."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from possam_core.errors import GroundTruthError
from possam_core.labels.masks import VOID_ID

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationRecord:
    """One annotated image as the JSON has it."""

    image: Record
    file_name: str  # of the image
    png_name: str
    ids: Sequence[int]  # positive and unique, in the order of `segments`
    segments: Sequence[Record]


def parse_json(content: str | bytes, source: str) -> Any:
    """What a JSON holds; `source` is what errors call it.

    Raises:
        GroundTruthError: it is not JSON.
    """
    try:
        return json.loads(content)
    except ValueError as error:
        raise GroundTruthError(
            f"expected JSON in {source}, but it does not parse: {error}"
        ) from error


@contextmanager
def missing_fields_named(source: str) -> Iterator[None]:
    """Turn what a missing or malformed field raises into one sentence.

    Raises:
        GroundTruthError: the JSON lacks something.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GroundTruthError(
            f"expected COCO panoptic categories, images and annotations in {source}, but one of"
            f" them is missing or misses a field ({type(error).__name__}: {error})"
        ) from error


def annotations_of(
    content: Any, source: str, *, limit: int | None = None
) -> Iterator[AnnotationRecord]:
    """The annotations of a parsed JSON, at most `limit`, the first.

    Raises:
        GroundTruthError: the ids of an image are not positive and unique.
    """
    images = {record["id"]: record for record in content["images"]}
    for record in content["annotations"][:limit]:
        image, segments = images[record["image_id"]], record["segments_info"]
        file_name = str(image["file_name"])
        ids = [int(info["id"]) for info in segments]
        if len(set(ids)) < len(ids) or any(number <= VOID_ID for number in ids):
            raise GroundTruthError(
                f"expected positive ids in {source} that are unique within {file_name}, got {ids}"
            )
        yield AnnotationRecord(
            image=image,
            file_name=file_name,
            png_name=str(record["file_name"]),
            ids=ids,
            segments=segments,
        )


def is_crowd(segment: Record) -> bool:
    """Whether a segment is a group of things, which need not be told apart."""
    return bool(segment.get("iscrowd", 0))
