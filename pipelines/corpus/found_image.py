"""An image as a source finds it, before planning, and the rows of many."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeVar

import pyarrow as pa

from pipelines.schema import INPUT_SCHEMA

IMAGE_ENDINGS = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp")
BATCH_ROWS = 8192

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """An image, or a file of images, as listed."""

    uri: str
    relative_uri: str  # to the root of the corpus
    size: int  # in bytes
    etag: str | None
    modified: datetime | None
    container: str | None = None
    offset: int | None = None
    image_id: None = None  # given only by manifests


def to_batches(found: Iterable[FoundImage]) -> Iterator[pa.RecordBatch]:
    """The same images as record batches of INPUT_SCHEMA."""
    for images in in_groups(found, BATCH_ROWS):
        columns = [
            pa.array([getattr(image, field.name) for image in images], field.type)
            for field in INPUT_SCHEMA
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=INPUT_SCHEMA)


def in_groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """`items` in lists of `size`; the last one may be shorter."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
