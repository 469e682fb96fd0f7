"""The run folder: one file a shard, whose existence is the commit (DESIGN 5.2).

No rename, lock, lease or database: every commit is one put-if-absent, and what is pending is the
plan minus a listing.
"""

import json
import logging
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore

from pipelines.store import STORE_ERRORS, is_s3, open_store, put_new
from possam_core.errors import ConfigError

logger = logging.getLogger(__name__)

PLAN_KEY = "_plan/plan.json"
MANIFEST_KEY = "_manifest.json"
SHARDS_A_FOLDER = 1000
SHARD_KEY = re.compile(r"data/g=\d{4,}/shard-(\d{8,})\.parquet")
ATTEMPT_KEY = re.compile(r"_attempts/shard-(\d{8,})/\d+")


def shard_key(shard: int) -> str:
    """Where the file of a shard lies."""
    return f"data/g={shard // SHARDS_A_FOLDER:04d}/shard-{shard:08d}.parquet"


class RunFolder:
    """Reads and writes one run folder, on disk or in a bucket."""

    def __init__(self, location: str, *, create: bool = False) -> None:
        """Open `location`.

        Args:
            location: normalised address of the folder.
            create: make a local folder that is missing; otherwise that is an error.

        Raises:
            ConfigError: there is no such folder, or it cannot be made.
        """
        self.location = location
        if not create and not is_s3(location) and not Path(location).is_dir():
            raise ConfigError(
                f"expected a run folder at {location}, found none; make one with possam label"
            )
        try:
            self._store = open_store(location, create=create)
        except STORE_ERRORS as error:
            raise _unwritable(location, error) from error

    def probe(self) -> None:
        """Prove that the folder can be written and that put-if-absent holds there.

        Raises:
            ConfigError: one of the two fails.
        """
        key = f"_runs/probe-{uuid.uuid4().hex}"
        try:
            put_new(self._store, key, b"{}")
            overwrites = put_new(self._store, key, b"{}")
            obstore.delete(self._store, key)
        except STORE_ERRORS as error:
            raise _unwritable(self.location, error) from error
        if overwrites:
            raise ConfigError(
                f"expected a store that honours conditional writes at {self.location}, but it"
                " overwrote an existing object; choose another store"
            )

    def put_new(self, key: str, data: bytes) -> bool:
        """Write `key` unless it exists; False if it did."""
        return put_new(self._store, key, data)

    def replace(self, key: str, data: bytes) -> None:
        """Write `key`, whatever was there: only for what is advisory or derived."""
        obstore.put(self._store, key, data, use_multipart=False)

    def read(self, key: str) -> bytes | None:
        """The content of `key`, or None if there is none."""
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            return None

    def read_json(self, key: str) -> Any:
        """The parsed content of `key`, or None if there is none."""
        data = self.read(key)
        return None if data is None else json.loads(data)

    def committed_shards(self) -> set[int]:
        """Indices of the shards whose files exist; one listing."""
        return {int(m[1]) for key in self.keys("data") if (m := SHARD_KEY.fullmatch(key))}

    def commit(self, shard: int, data: bytes) -> bool:
        """Make the file of a shard appear, whole; False if it had already been there."""
        return self.put_new(shard_key(shard), data)

    def count_attempts(self) -> Counter[int]:
        """How often each shard has been started since the last finalise."""
        keys = self.keys("_attempts")
        return Counter(int(m[1]) for key in keys if (m := ATTEMPT_KEY.fullmatch(key)))

    def start_attempt(self, shard: int) -> int:
        """Leave a marker that the shard is being worked on; the number of this attempt, from 1."""
        folder = f"_attempts/shard-{shard:08d}"
        number = sum(1 for _ in self.keys(folder)) + 1
        while not self.put_new(f"{folder}/{number}", b""):
            number += 1
        return number

    def clear_attempts(self) -> None:
        """Forget all attempts: nothing is open any more."""
        for key in list(self.keys("_attempts")):
            obstore.delete(self._store, key)

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys below `prefix`; one listing."""
        for page in obstore.list(self._store, prefix):
            yield from (meta["path"] for meta in page)


def _unwritable(location: str, error: Exception) -> ConfigError:
    reason = str(error).partition("\n")[0]
    return ConfigError(
        f"expected a place to write at {location}, but writing failed ({reason});"
        " choose another --output or mend its permissions"
    )
