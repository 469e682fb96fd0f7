"""The folder that an export is written to, on disk or in a bucket."""

import json
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from pipelines.storage.addresses import is_s3
from pipelines.storage.folder import StoreFolder

WRITE_THREADS = 8
MAX_WAITING = 64  # writes that may be pending


class ExportFolder(StoreFolder):
    """Writes many small objects, to a bucket in parallel; leaving it cancels pending writes."""

    def __init__(self, location: str) -> None:
        """Open `location`, a normalised address; a missing local folder is created."""
        super().__init__(location, create=True)
        # On disk a write takes less time than a thread takes to start it.
        self._writers = ThreadPoolExecutor(WRITE_THREADS) if is_s3(location) else None
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> "ExportFolder":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writers is not None:
            self._writers.shutdown(cancel_futures=True)

    def put(self, key: str, data: bytes) -> None:
        """Write or replace `key`, in a bucket asynchronously; `flush` raises its errors."""
        if self._writers is None:
            self.replace(key, data)
            return
        self._waiting.append(self._writers.submit(self.replace, key, data))
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft().result()

    def put_json(self, key: str, content: object) -> None:
        """Write `content` under `key` as indented JSON, as `put` does."""
        self.put(key, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

    def flush(self) -> None:
        """Wait until everything is written."""
        while self._waiting:
            self._waiting.popleft().result()

    def commit(self, key: str, data: bytes) -> bool:
        """Flush, then write `key` unless it exists; False if it did."""
        self.flush()
        return self.put_new(key, data)
