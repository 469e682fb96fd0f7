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
    except (ValueError, RecursionError) as error:
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
        GroundTruthError: the ids of an image are not positive and unique, or two images have one
            id.
    """
    images = by_id(content["images"], source, what="images")
    for record in content["annotations"][:limit]:
        image, segments = images.get(record["image_id"]), record["segments_info"]
        if image is None:
            raise GroundTruthError(
                f"expected annotations of images in {source}, but it has none of the id"
                f" {record['image_id']!r}, whose segments it names; a number and a text are two ids"
            )
        file_name = str(image["file_name"])
        ids = [int(info["id"]) for info in segments]
        are_whole = all(number == float(s["id"]) for number, s in zip(ids, segments, strict=True))
        if len(set(ids)) < len(ids) or any(number <= VOID_ID for number in ids) or not are_whole:
            raise GroundTruthError(
                f"expected positive ids in {source} that are unique within {file_name}, got"
                f" {[info['id'] for info in segments]}"
            )
        yield AnnotationRecord(
            image=image,
            file_name=file_name,
            png_name=str(record["file_name"]),
            ids=ids,
            segments=segments,
        )


def by_id(records: Sequence[Record], source: str, *, what: str) -> dict[Any, Record]:
    """The records of images or categories by their ids.

    Raises:
        GroundTruthError: two have one id, so nobody knows which is meant.
    """
    found = dict[Any, Record]()
    for record in records:
        if (twin := found.setdefault(record["id"], record)) is not record and twin != record:
            raise GroundTruthError(
                f"expected {what} of different ids in {source}, but two of them have the id"
                f" {record['id']!r}; number them anew"
            )
    return found


def is_crowd(segment: Record) -> bool:
    """Whether a segment is a group of things, which need not be told apart.

    Raises:
        ValueError: `iscrowd` is neither 0 nor 1.
    """
    return flag(segment.get("iscrowd"), "iscrowd")


def flag(value: object, name: str) -> bool:
    """A field that is 0 or 1, or left out for 0; the text "0" is neither.

    Raises:
        ValueError: it is something else.
    """
    if value is None or value in (0, 1):
        return bool(value)
    raise ValueError(f"{name} is {value!r}, neither 0 nor 1")
