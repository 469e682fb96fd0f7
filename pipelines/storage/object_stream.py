"""Objects of a bucket as files: one that can seek, one that is read from start to end."""

import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import obstore

from pipelines.storage.addresses import local_path, split_object
from pipelines.storage.retry import Patience, Retries
from pipelines.storage.store import STORE_ERRORS, open_bucket

logger = logging.getLogger(__name__)

PATIENCE = Patience(tries=5, first_pause_s=0.5)  # for a download that breaks off at the same byte


def open_stream(uri: str) -> BinaryIO:
    """A stream of a local file or an object that is read once from its start to its end.

    Raises:
        OSError or BaseError: it cannot be opened.
    """
    path = local_path(uri)
    return Path(path).open("rb") if path is not None else cast(BinaryIO, _Download(uri))


class ObjectFile(io.RawIOBase):
    """An object that can seek; each `read` is one request.

    pyarrow asks for `closed` and `readable`, which obstore's own file lacks.
    """

    def __init__(self, uri: str) -> None:
        bucket, self._key = split_object(uri)
        self._store = open_bucket(bucket)
        about = obstore.head(self._store, self._key)
        self._size, self._etag = about["size"], about["e_tag"]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        end = min(self._position + len(buffer), self._size)
        if self._position >= end:
            return 0
        answer = obstore.get(self._store, self._key, options={"range": (self._position, end)})
        if answer.meta["e_tag"] != self._etag:
            raise OSError("it changed while it was read")
        data = answer.bytes()
        buffer[: len(data)] = memoryview(data)
        self._position += len(data)
        return len(data)


class _Download(io.RawIOBase):
    """An object that is read with one request; if that breaks off, the rest with another."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._chunks = self._arriving()
        self._chunk = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._chunk:
            self._chunk = memoryview(next(self._chunks, b""))
        part, self._chunk = self._chunk[: len(buffer)], self._chunk[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def _arriving(self) -> Iterator[bytes]:
        bucket, key = split_object(self._uri)
        store, position = open_bucket(bucket), 0
        retries = Retries(PATIENCE)
        about = obstore.head(store, key)
        while position < about["size"]:
            try:
                answer = obstore.get(store, key, options={"range": {"offset": position}})
                if answer.meta["e_tag"] != about["e_tag"]:
                    raise OSError("it changed while it was read")
                for chunk in answer.stream():
                    yield bytes(chunk)
                    position += len(chunk)
                    retries.reset()
                if position < about["size"]:
                    raise OSError("it ended early")
            except STORE_ERRORS as error:
                logger.warning("%s broke off at byte %d (%s)", self._uri, position, error)
                if not retries.again():
                    raise
