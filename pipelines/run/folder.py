"""The run folder: one file a shard, whose existence is the commit (docs/output.md).

No rename, lock, lease or database: every commit is one put-if-absent, and what is pending is the
plan minus a listing.
"""

import hashlib
import re
import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from pipelines.storage.addresses import is_s3
from pipelines.storage.folder import StoreFolder
from pipelines.storage.store import writing_named
from possam_core.errors import ConfigError

# Of plans and of `schema.ROW_SCHEMAS`, oldest first; in the metadata of every file.
SCHEMA_VERSIONS = ("2", "3")
SCHEMA_VERSION = SCHEMA_VERSIONS[-1]  # of new runs
MANIFEST_KEY = "_manifest.json"
VOCABULARY_KEY = "_plan/vocabulary.json"
PLAN_FOLDER = "_plan"  # of the corpus
SHARDS_A_FOLDER = 1000
SHARD_KEY = re.compile(r"(data|data-retry-\d{3,})/g=\d{4,}/shard-(\d{8,})\.parquet")
ATTEMPT_KEY = re.compile(r"_attempts/(retry-\d{3,}/)?shard-(\d{8,})/\d+")
CORRECTION_KEY = re.compile(r"corrections/(\d{5,})-\d{8}T\d{6}Z\.parquet")


def plan_key(round: int) -> str:
    """Key of the head of the plan, or of a later round's."""
    return f"_plan/retry-{round:03d}.json" if round else "_plan/plan.json"


def plan_part_key(part: int, folder: str = PLAN_FOLDER) -> str:
    """Key of a list of planned images."""
    return f"{folder}/part-{part:05d}.parquet"


def drafts_folder(round: int) -> str:
    """Folder of the drafts of a retry: the chosen one and those that lost."""
    return f"_plan/retry-{round:03d}"


def draft_folder(round: int, codes: Iterable[str]) -> str:
    """Folder of the lists of a retry of `codes`.

    Other codes have another folder, so that a process that crashes before it writes the head of
    its plan, or writes it second, blocks no other.
    """
    name = hashlib.sha256(",".join(sorted(codes)).encode()).hexdigest()[:8]
    return f"{drafts_folder(round)}/{name}"


def dropped_part_key(part: int) -> str:
    """Key of a list of images that repeat a planned one."""
    return f"_plan/duplicates-{part:05d}.parquet"


def data_folder(round: int) -> str:
    """Folder of the files of a round."""
    return f"data-retry-{round:03d}" if round else "data"


def shard_key(shard: int, round: int = 0) -> str:
    """Key of the file of a shard."""
    return f"{data_folder(round)}/g={shard // SHARDS_A_FOLDER:04d}/shard-{shard:08d}.parquet"


def correction_key(number: int, moment: datetime) -> str:
    """Key of a file of corrected rows; a higher number wins over a lower one."""
    return f"corrections/{number:05d}-{moment:%Y%m%dT%H%M%SZ}.parquet"


class RunFolder(StoreFolder):
    """Reads and writes one run folder, on disk or in a bucket."""

    def __init__(self, location: str, *, create: bool = False, single_writer: bool = False) -> None:
        """Open `location`; see `StoreFolder`.

        Raises:
            ConfigError: there is no such folder, or it cannot be created.
        """
        if not create and not is_s3(location) and not Path(location).is_dir():
            raise ConfigError(
                f"expected a run folder at {location}, found none; make one with possam label"
            )
        with writing_named(location):
            super().__init__(location, create=create, single_writer=single_writer)

    def probe(self) -> None:
        """Check that the folder can be written and that put-if-absent works there.

        Raises:
            ConfigError: one of the two does not hold.
        """
        key = f"_runs/probe-{uuid.uuid4().hex}"
        with writing_named(self.location):
            self.put_new(key, b"{}")
            overwrites = self.put_new(key, b"{}")
            self.remove([key])
        if overwrites:
            raise ConfigError(
                f"expected a store that honours conditional writes at {self.location}, but it"
                " overwrote an existing object; choose another store, or make sure that only one"
                " run at a time writes there and add --single-writer"
            )

    def committed_shards(self, round: int = 0) -> set[int]:
        """Indices of the shards of a round whose files exist; one listing."""
        keys = self.keys(data_folder(round))
        return {int(m[2]) for key in keys if (m := SHARD_KEY.fullmatch(key))}

    def correction_keys(self) -> list[str]:
        """Keys of the files of corrections, oldest first; one listing."""
        matches = (CORRECTION_KEY.fullmatch(key) for key in self.keys("corrections"))
        return [m[0] for m in sorted((m for m in matches if m), key=lambda m: (int(m[1]), m[0]))]

    def commit(self, shard: int, data: bytes, round: int = 0) -> bool:
        """Write the whole file of a shard in one step; False if it existed already."""
        return self.put_new(shard_key(shard, round), data)

    def is_committed(self, shard: int, round: int = 0) -> bool:
        """Whether the file of a shard exists."""
        return self.exists(shard_key(shard, round))

    def count_attempts(self, round: int = 0) -> Counter[int]:
        """How often each shard of a round has been started since the last finalise."""
        matches = (ATTEMPT_KEY.fullmatch(key) for key in self.keys("_attempts"))
        prefix = _attempts_prefix(round)
        return Counter(int(m[2]) for m in matches if m and (m[1] or "") == prefix)

    def start_attempt(self, shard: int, round: int = 0) -> int:
        """Write a marker that the shard is started; returns the number of the attempt, from 1."""
        folder = f"_attempts/{_attempts_prefix(round)}shard-{shard:08d}"
        number = sum(1 for _ in self.keys(folder)) + 1
        while not self.put_new(f"{folder}/{number}", b""):
            number += 1
        return number

    def clear_attempts(self) -> None:
        """Remove the markers of all attempts: no shard is open any more."""
        self.remove(self.keys("_attempts"))


def _attempts_prefix(round: int) -> str:
    return f"retry-{round:03d}/" if round else ""
