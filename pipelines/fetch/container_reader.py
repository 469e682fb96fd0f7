"""Reads images inside tar or Parquet files, many of them with one request."""

import io
import logging
from bisect import bisect
from collections.abc import Iterable, Iterator
from itertools import accumulate, groupby
from pathlib import Path

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.exceptions import GenericError
from obstore.store import ObjectStore

from pipelines.corpus.container import embedded_column, image_bytes, open_container
from pipelines.corpus.image import InputImage, content_etag
from pipelines.storage.addresses import BadKeyError, local_path, split_object
from pipelines.storage.retry import Patience, Retries
from pipelines.storage.store import open_bucket
from possam_core.errors import ConfigError, one_line
from possam_core.images.decode import MAX_BYTES, ImageError, ImageErrorCode

logger = logging.getLogger(__name__)

RANGE_BYTES = 32 * 2**20  # of a tar, read at once and held in memory
PATIENCE = Patience(tries=4, first_pause_s=0.3)
PARQUET = ".parquet"

Content = bytes | ImageError


class ContainerReader:
    """Reads members of tar files by ranges, and rows of Parquet files by row groups."""

    def __init__(self) -> None:
        self._buckets: dict[str, ObjectStore] = {}

    def units(self, images: Iterable[InputImage]) -> Iterator[list[InputImage]]:
        """The images in order, in lists for `read`; an image outside a container is alone."""
        for container, members in groupby(images, key=lambda image: image.container):
            if container is None:
                yield from ([image] for image in members)
            elif container.endswith(PARQUET):
                yield from _row_group_units(container, list(members))
            else:
                yield from _range_units(members)

    def read(self, unit: list[InputImage]) -> list[Content]:
        """The bytes of each image of a unit, or why there are none.

        Raises:
            GenericError: the store failed, and the retries did not help.
        """
        container = unit[0].container
        assert container is not None
        contents: dict[str, Content] = {}
        retries = Retries(PATIENCE)
        while True:
            missing = [image for image in unit if image.image_id not in contents]
            try:
                if container.endswith(PARQUET):
                    found = _read_rows(container, missing)
                else:
                    found = self._read_range(container, missing)
            except FileNotFoundError:
                gone = ImageError(ImageErrorCode.NOT_FOUND, f"{container} is gone")
                return [gone for _ in unit]
            except BadKeyError as error:
                bad = ImageError(ImageErrorCode.BAD_KEY, one_line(error))
                return [bad for _ in unit]
            except (GenericError, OSError):
                logger.info("reading %s failed", container, exc_info=True)
                if not retries.again():
                    raise
                continue
            contents |= {
                image.image_id: data
                for image, data in zip(missing, found, strict=True)
                if isinstance(data, ImageError) or content_etag(io.BytesIO(data)) == image.etag
            }
            if len(contents) == len(unit) or not retries.again():
                break
        changed = ImageError(
            ImageErrorCode.INPUT_CHANGED, f"{container} holds other bytes there than were planned"
        )
        return [contents.get(image.image_id, changed) for image in unit]

    def _read_range(self, container: str, images: list[InputImage]) -> list[Content]:
        first = images[0].offset or 0
        end = max((image.offset or 0) + (image.size or 0) for image in images)
        if end - first > max(RANGE_BYTES, MAX_BYTES):  # one image, for no longer range is planned
            return [ImageError(ImageErrorCode.TOO_LARGE, f"{end - first} bytes in {container}")]
        path = local_path(container)
        if path is not None:
            with Path(path).open("rb") as file:
                file.seek(first)
                data = file.read(end - first)
        else:
            data = self._get_range(container, first, end)
        starts = [(image.offset or 0) - first for image in images]
        return [data[s : s + (i.size or 0)] for s, i in zip(starts, images, strict=True)]

    def _get_range(self, container: str, first: int, end: int) -> bytes:
        bucket, key = split_object(container)
        if bucket not in self._buckets:
            self._buckets[bucket] = open_bucket(bucket)
        if first == end:
            return b""
        try:
            return bytes(obstore.get_range(self._buckets[bucket], key, start=first, end=end))
        except GenericError:
            if obstore.head(self._buckets[bucket], key)["size"] < end:
                return b""  # the container has become shorter, so it is not the planned one
            raise


def _range_units(members: Iterable[InputImage]) -> Iterator[list[InputImage]]:
    """Neighbours in a tar, together up to a range of RANGE_BYTES."""
    unit: list[InputImage] = []
    for image in members:
        assert image.offset is not None
        assert image.size is not None
        first = unit[0].offset if unit else image.offset
        assert first is not None
        if unit and not 0 <= image.offset + image.size - first <= RANGE_BYTES:
            yield unit
            unit = []
        unit.append(image)
    yield unit


def _row_group_units(container: str, members: list[InputImage]) -> Iterator[list[InputImage]]:
    """Images of one row group together; all images of a file that cannot be opened."""
    try:
        with open_container(container) as stream, pq.ParquetFile(stream, pre_buffer=False) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    except (FileNotFoundError, pa.ArrowInvalid):
        yield members
        return
    ends = list(accumulate(sizes))
    for _, group in groupby(members, key=lambda image: bisect(ends, image.offset or 0)):
        yield list(group)


def _read_rows(container: str, images: list[InputImage]) -> list[Content]:
    """The embedded bytes of neighbouring images of a Parquet file; empty where there are none."""
    rows = [image.offset or 0 for image in images]
    found: dict[int, bytes] = {}
    try:
        with open_container(container) as stream, pq.ParquetFile(stream, pre_buffer=False) as file:
            column = embedded_column(file.schema_arrow)
            first = 0
            for group in range(file.num_row_groups):
                wanted = [
                    r for r in rows if 0 <= r - first < file.metadata.row_group(group).num_rows
                ]
                if wanted:
                    table = file.read_row_group(group, columns=[column])
                    contents = image_bytes(table[column].combine_chunks())
                    found |= {row: contents[row - first].as_py() or b"" for row in wanted}
                first += file.metadata.row_group(group).num_rows
    except (pa.ArrowInvalid, ConfigError):  # no longer the file that was planned
        logger.info("%s cannot be read any more", container, exc_info=True)
    return [found.get(row, b"") for row in rows]
