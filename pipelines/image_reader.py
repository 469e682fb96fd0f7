"""Bytes of planned images, checked against the plan on every read."""

import io
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.exceptions import GenericError
from obstore.store import ObjectStore

from pipelines.inputs import InputImage, local_etag, local_path
from pipelines.store import open_bucket, split_s3
from possam_core.image_decode import MAX_BYTES, ImageError, ImageErrorCode

logger = logging.getLogger(__name__)

READ_TRIES = 3
FIRST_PAUSE_S = 0.5  # doubles with every try


@dataclass(frozen=True, slots=True)
class Fetched:
    """An image and its bytes, or why there are none."""

    image: InputImage
    data: bytes | ImageError


class ImageReader:
    """Reads images one at a time; safe to call from many threads."""

    def __init__(self) -> None:
        self._buckets: dict[str, ObjectStore] = {}

    def fetch(self, image: InputImage) -> Fetched:
        """Read one image; permanent trouble becomes data, transient trouble raises."""
        try:
            return Fetched(image, self.read(image))
        except ImageError as error:
            return Fetched(image, error)

    def read(self, image: InputImage) -> bytes:
        """The bytes that the plan promised.

        Raises:
            ImageError: they are gone, changed or unfit, which a retry cannot mend.
            Exception: whatever the store raises in transient trouble that outlasted the retries.
        """
        if image.size > MAX_BYTES:
            raise ImageError(
                ImageErrorCode.TOO_LARGE, f"{image.size} bytes, at most {MAX_BYTES} are read"
            )
        path = local_path(image.uri)
        return self._read_s3(image) if path is None else _read_local(image, Path(path))

    def _read_s3(self, image: InputImage) -> bytes:
        bucket, key = split_s3(image.uri)
        if bucket not in self._buckets:
            self._buckets[bucket] = open_bucket(bucket)
        for tries in range(READ_TRIES):
            if tries > 0:
                time.sleep(FIRST_PAUSE_S * 2 ** (tries - 1))
            try:
                data = _get(self._buckets[bucket], key, image)
            except GenericError:
                if tries == READ_TRIES - 1:
                    raise
                logger.warning("read %s failed, once more", image.uri, exc_info=True)
            else:
                if len(data) == image.size:
                    return data
        raise ImageError(
            ImageErrorCode.CORRUPT_READ,
            f"the store announces {image.size} bytes and sends others, {READ_TRIES} times",
        )


def _get(store: ObjectStore, key: str, image: InputImage) -> bytes:
    try:
        reply = obstore.get(store, key)
    except FileNotFoundError as error:
        raise ImageError(ImageErrorCode.NOT_FOUND, "the object is gone") from error
    except ValueError as error:
        raise ImageError(ImageErrorCode.BAD_KEY, _one_line(error)) from error
    etag = (reply.meta["e_tag"] or "").strip('"')
    _refuse_changes(image, size=reply.meta["size"], etag=etag)
    return bytes(reply.bytes())


def _read_local(image: InputImage, path: Path) -> bytes:
    try:
        size = path.stat().st_size
        _refuse_changes(image, size=size, etag=image.etag)  # before reading what may be huge
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise ImageError(ImageErrorCode.NOT_FOUND, _one_line(error)) from error
    _refuse_changes(image, size=len(data), etag=local_etag(io.BytesIO(data)))
    return data


def _refuse_changes(image: InputImage, *, size: int, etag: str) -> None:
    if (size, etag) != (image.size, image.etag):
        raise ImageError(
            ImageErrorCode.INPUT_CHANGED,
            f"planned {image.size} bytes with etag {image.etag!r}, found {size} and {etag!r}",
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
