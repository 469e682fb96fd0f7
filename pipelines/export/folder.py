"""The folder that an export is written to, on disk or in a bucket."""

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import obstore

from pipelines.storage.addresses import is_s3
from pipelines.storage.object_reader import ObjectReader
from pipelines.storage.store import open_store, patiently, put_new

WRITE_THREADS = 8
MAX_WAITING = 64  # writes that are not done yet
CHUNK_BYTES = 16 * 2**20


class ExportFolder:
    """Writes many small objects, to a bucket side by side; leaving it waits for all of them."""

    def __init__(self, location: str) -> None:
        """Open `location`, a normalised address; a local folder is made if it is missing."""
        self.location = location
        self._store = open_store(location, create=True)
        self._reader = ObjectReader(self._store)
        # On disk a write takes less time than a thread takes to hear of it.
        self._writers = ThreadPoolExecutor(WRITE_THREADS) if is_s3(location) else None
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> "ExportFolder":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writers is not None:
            self._writers.shutdown(cancel_futures=True)

    def put(self, key: str, data: bytes) -> None:
        """Write `key`, perhaps in a while, whatever was there; `flush` raises what goes wrong."""
        if self._writers is None:
            self._put(key, data)
            return
        self._waiting.append(self._writers.submit(self._put, key, data))
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft().result()

    def put_json(self, key: str, content: object) -> None:
        """Likewise, a small JSON file for people, too."""
        self.put(key, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

    def put_file(self, key: str, path: Path) -> None:
        """Write `key` from a file of any size, at once."""
        patiently(lambda: obstore.put(self._store, key, path, chunk_size=CHUNK_BYTES))

    def flush(self) -> None:
        """Return once everything is written."""
        while self._waiting:
            self._waiting.popleft().result()

    def commit(self, key: str, data: bytes) -> bool:
        """Write `key` after all else, unless it exists; False if it did."""
        self.flush()
        return put_new(self._store, key, data)

    def read(self, key: str) -> bytes | None:
        """The content of `key`, or None if there is none."""
        try:
            return self._reader.read(key)
        except FileNotFoundError:
            return None

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys below `prefix`; one listing."""
        pages = patiently(lambda: list(obstore.list(self._store, prefix)))
        return (entry["path"] for page in pages for entry in page)

    def is_empty(self) -> bool:
        """Whether nothing lies there; looks at the first few objects at most."""
        return not next(iter(obstore.list(self._store, chunk_size=1)), [])

    def _put(self, key: str, data: bytes) -> None:
        patiently(lambda: obstore.put(self._store, key, data, use_multipart=False))
