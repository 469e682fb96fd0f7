"""A folder over a store: a local one, or a prefix of a bucket.

Keys are relative to it. Calls are repeated while the store fails; a lasting failure is raised as
one of `STORE_ERRORS`, which `trouble_named` and `writing_named` turn into a sentence.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore

from pipelines.storage.addresses import is_s3
from pipelines.storage.object_reader import ObjectReader
from pipelines.storage.store import open_store, patiently, put_new

if TYPE_CHECKING:
    from obstore import Attributes, ObjectMeta

CHUNK_BYTES = 16 * 2**20  # of a file that is written in parts
WHOLE_BYTES = 64 * 2**20  # up to this, bytes are written with one request


class StoreFolder:
    """Reads and writes one folder; safe to call from many threads."""

    def __init__(self, location: str, *, create: bool = False, single_writer: bool = False) -> None:
        """Open `location`, a normalised address.

        Args:
            location: of the folder.
            create: create a local folder that is missing; otherwise it must exist.
            single_writer: `put_new` first checks and then writes, for stores that cannot do both
                in one step; two writers at once may then overwrite each other.
        """
        self.location = location
        self._is_single_writer = single_writer
        self._store = open_store(location, create=create)
        self._reader = ObjectReader(self._store)

    def read(self, key: str) -> bytes | None:
        """The content of `key`, or None if there is none."""
        try:
            if not is_s3(self.location):  # without the client, which hangs in a forked process
                return Path(self.location, key).read_bytes()
            return self._reader.read(key)
        except FileNotFoundError:
            return None

    def read_json(self, key: str) -> Any:
        """The parsed content of `key`, or None if there is none."""
        data = self.read(key)
        return None if data is None else json.loads(data)

    def exists(self, key: str) -> bool:
        """Whether there is a `key`; one request."""
        try:
            patiently(lambda: obstore.head(self._store, key))
        except FileNotFoundError:
            return False
        return True

    def put_new(self, key: str, data: bytes) -> bool:
        """Write `key` unless it exists; False if it did."""
        if not self._is_single_writer:
            return put_new(self._store, key, data)
        if self.exists(key):
            return False
        self.replace(key, data)
        return True

    def replace(self, key: str, data: bytes, *, attributes: "Attributes | None" = None) -> None:
        """Write `key`, and overwrite it if it exists.

        Args:
            key: of the object.
            data: its new content.
            attributes: of an object in a bucket, such as its media type; disks refuse them.
        """
        patiently(lambda: self.replace_once(key, data, attributes=attributes))

    def replace_once(
        self, key: str, data: bytes, *, attributes: "Attributes | None" = None
    ) -> None:
        """As `replace`, with only the client's own retries: for advisory notes.

        A process that waits for it does not react to SIGTERM meanwhile.
        """
        is_large = len(data) > WHOLE_BYTES
        obstore.put(self._store, key, data, attributes=attributes, use_multipart=is_large)

    def replace_file(self, key: str, path: Path) -> None:
        """Write `key` from a local file of any size, and overwrite it if it exists."""
        patiently(lambda: obstore.put(self._store, key, path, chunk_size=CHUNK_BYTES))

    def remove(self, keys: Iterable[str]) -> None:
        """Delete `keys`, some of which may not exist."""
        if not (unneeded := list(keys)):
            return
        try:
            # Many with one request, where the store can.
            patiently(lambda: obstore.delete(self._store, unneeded))
        except FileNotFoundError:  # on a disk, which may have left the keys after it
            for key in unneeded:
                with suppress(FileNotFoundError):
                    patiently(partial(obstore.delete, self._store, key))

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys below `prefix`; one listing."""
        return (entry["path"] for entry in self.entries(prefix))

    def entries(self, prefix: str = "") -> Iterator["ObjectMeta"]:
        """Path, size, etag and time of each key below `prefix`; one listing."""
        # As a whole, because a listing that breaks off must start again.
        pages = patiently(lambda: list(obstore.list(self._store, prefix or None)))
        return chain.from_iterable(pages)

    def is_empty(self) -> bool:
        """Whether the folder has no key; lists the first few objects at most."""
        return not patiently(lambda: next(iter(obstore.list(self._store, chunk_size=1)), []))
