"""Reads the bytes of planned images and checks them against the plan every time."""

import io
import logging
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.corpus.image import InputImage, content_etag
from pipelines.fetch.container_reader import ContainerReader
from pipelines.fetch.http_reader import HttpReader
from pipelines.storage.addresses import BadKeyError, is_http, local_path, split_object
from pipelines.storage.object_reader import DamagedReadError, ObjectReader
from pipelines.storage.store import open_bucket
from possam_core.errors import one_line
from possam_core.images.decode import MAX_BYTES, ImageError, ImageErrorCode

if TYPE_CHECKING:
    from obstore import ObjectMeta

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fetched:
    """An image and its bytes, or why there are none."""

    image: InputImage
    data: bytes | ImageError


class ImageReader:
    """Reads images wherever they are; safe to call from many threads.

    Example:
        >>> from pipelines import ImageReader, open_run
        >>> reader = ImageReader(["images.example.org"])  # web addresses of this host alone
        >>> len([image.pixels(reader) for image in open_run("run")])
        4
    """

    def __init__(self, allowed_hosts: Sequence[str] = ()) -> None:
        """Read web addresses of `allowed_hosts` only."""
        self._buckets: dict[str, ObjectReader] = {}
        self._containers = ContainerReader()
        self._web = HttpReader(allowed_hosts)

    def units(self, images: Iterable[InputImage]) -> Iterator[list[InputImage]]:
        """The images in order, in lists that are read with one request."""
        return self._containers.units(images)

    def fetch(self, unit: list[InputImage]) -> list[Fetched]:
        """Read one of `units`; permanent failures are returned, transient ones raised."""
        if unit[0].container is not None:
            contents = self._containers.read(unit)
            return [Fetched(i, data) for i, data in zip(unit, contents, strict=True)]
        return [self._fetch_alone(image) for image in unit]

    def read(self, image: InputImage) -> bytes:
        """The bytes of a planned image.

        Raises:
            ImageError: they are missing, changed or unfit; a retry cannot help.
            Exception: a transient failure of the store that the retries did not help.
        """
        (fetched,) = self.fetch([image])
        if isinstance(fetched.data, ImageError):
            raise fetched.data
        return fetched.data

    def _fetch_alone(self, image: InputImage) -> Fetched:
        try:
            if image.size is not None and image.size > MAX_BYTES:
                raise ImageError(
                    ImageErrorCode.TOO_LARGE, f"{image.size} bytes, at most {MAX_BYTES} are read"
                )
            if is_http(image.uri):
                return Fetched(image, self._web.read(image))
            path = local_path(image.uri)
            return Fetched(image, self._read_s3(image) if path is None else _read(image, path))
        except ImageError as error:
            return Fetched(image, error)

    def _read_s3(self, image: InputImage) -> bytes:
        try:
            bucket, key = split_object(image.uri)
        except BadKeyError as error:
            raise ImageError(ImageErrorCode.BAD_KEY, one_line(error)) from error
        if bucket not in self._buckets:
            self._buckets[bucket] = ObjectReader(open_bucket(bucket))

        def refuse_changes(meta: "ObjectMeta") -> None:
            etag = (meta["e_tag"] or "").strip('"')
            if image.etag is not None and etag != image.etag:
                raise _changed(image, f"{meta['size']} bytes with etag {etag!r}")
            if meta["size"] > MAX_BYTES:
                raise ImageError(
                    ImageErrorCode.TOO_LARGE, f"{meta['size']} bytes, at most {MAX_BYTES} are read"
                )

        try:
            return self._buckets[bucket].read(key, check=refuse_changes, size=image.size)
        except FileNotFoundError as error:
            raise ImageError(ImageErrorCode.NOT_FOUND, "the object is gone") from error
        except ValueError as error:
            raise ImageError(ImageErrorCode.BAD_KEY, one_line(error)) from error
        except DamagedReadError as error:
            raise ImageError(ImageErrorCode.CORRUPT_READ, one_line(error)) from error


def _read(image: InputImage, path: str) -> bytes:
    """Read a local file, which must be a regular one: neither a link nor an endless pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(ImageErrorCode.NOT_FOUND, "not a regular file")
            if image.size is not None and status.st_size != image.size:  # before it is read
                raise _changed(image, f"{status.st_size} bytes")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageError(ImageErrorCode.NOT_FOUND, one_line(error)) from error
    etag = content_etag(io.BytesIO(data))
    if image.size not in (None, len(data)) or image.etag not in (None, etag):
        raise _changed(image, f"{len(data)} bytes with etag {etag!r}")
    return data


def _changed(image: InputImage, found: str) -> ImageError:
    planned = f"{image.size} bytes" + (f" with etag {image.etag!r}" if image.etag else "")
    return ImageError(ImageErrorCode.INPUT_CHANGED, f"planned {planned}, found {found}")
