"""Statistics of a whole run, computed shard by shard and cached for unchanged shards.

The cache lies in `stats/` and can be deleted at any time: `shards/` holds the statistics of each
shard and `statistics.json` their sum, with digests of their inputs; the tables are made from the
sum.
"""

import gzip
import hashlib
import io
import json
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.run.committed import find_commits, newest_rows, read_rows, substitute
from pipelines.run.folder import SHARDS_A_FOLDER, RunFolder, data_folder, shard_key
from pipelines.run.grading import why_uncalibrated
from pipelines.run.parts import SHARDS_A_PART, open_part
from pipelines.run.plan import load_plan
from pipelines.stats.count import shard_statistics
from pipelines.stats.statistics import Statistics
from pipelines.stats.tables import make_tables
from pipelines.storage.store import STORE_ERRORS, trouble_named
from possam_core.ahead import run_ahead

logger = logging.getLogger(__name__)

FORMAT = "3"  # of the cache; files of another format are computed again
TOTAL_KEY = "stats/statistics.json"
THREADS = 4
SHARDS_AHEAD = 64  # counted but not yet added up, at most


def run_statistics(
    location: str,
    *,
    uncalibrated: bool = False,
    on_shard: Callable[[int, int], None] = lambda done, total: None,
) -> Statistics:
    """The statistics of the newest committed rows of the run at `location`.

    Grades read `uncalibrated` where they promise nothing (`pipelines.run.grading`). If the run
    cannot be written, nothing is cached, and the next call counts everything again.

    Args:
        location: the run folder; the run need not be finished.
        uncalibrated: count grades as they are even so.
        on_shard: called with the number of shards counted so far, and of all.

    Raises:
        ConfigError: there is no run, its store does not answer, or a file of it is damaged.

    Example:
        >>> from pipelines import run_statistics
        >>> found = run_statistics("run")
        >>> found.num_images, found.num_ok
        (5, 4)
    """
    run, commits = find_commits(location)
    with trouble_named(run.location):
        newer = _by_shard(run, newest_rows(run, commits.newer))
        counter = _Counter(run=run, newer=newer, files=_versions(run))
        has_grades = uncalibrated or why_uncalibrated(run) is None
        digest = f"{counter.digest_of_all(commits.shards)} {has_grades}"
        kept = counter.kept(TOTAL_KEY, digest)
        if kept is not None:
            return kept
        total = Statistics()
        with ThreadPoolExecutor(THREADS) as pool:
            counted = run_ahead(pool, counter.count, commits.shards, SHARDS_AHEAD)
            for done, found in enumerate(counted, start=1):
                total += found
                on_shard(done, len(commits.shards))
        total = total if has_grades else total.without_grades()
        counter.keep_total(digest, total)
    return total


@dataclass(slots=True, kw_only=True)
class _Counter:
    """Counts shards, and caches their statistics if the run can be written."""

    run: RunFolder
    newer: Mapping[int, pa.Table]  # by shard, the rows that replace rows of its file
    files: Mapping[str, str]  # key -> version of the file
    is_writable: bool = True
    _lock: Lock = field(default_factory=Lock)  # threads that fail together warn once

    def count(self, shard: int) -> Statistics:
        """The statistics of one shard, from the cache or counted."""
        key = f"stats/shards/g={shard // SHARDS_A_FOLDER:04d}/shard-{shard:08d}.json.gz"
        digest = self._digest(shard)
        kept = self.kept(key, digest)
        if kept is not None:
            return kept
        rows = read_rows(self.run, shard_key(shard))
        if shard in self.newer:
            rows = substitute(rows, self.newer[shard])
        found = shard_statistics(rows)
        self._keep(key, _json(digest, found))
        return found

    def keep_total(self, digest: str, total: Statistics) -> None:
        """Write the tables, then the sum, so that the sum never exists without them."""
        for name, table in make_tables(total).items():
            stream = io.BytesIO()
            pq.write_table(table, stream, compression="zstd")
            self._keep(f"stats/{name}.parquet", stream.getvalue())
        self._keep(TOTAL_KEY, _json(digest, total))

    def digest_of_all(self, shards: Iterable[int]) -> str:
        """A digest of all inputs of the rows of all shards."""
        digests = (f"{shard} {self._digest(shard)}\n" for shard in shards)
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def kept(self, key: str, digest: str) -> Statistics | None:
        """The cached statistics under `key`, if they are intact and have the same digest."""
        data = self.run.read(key)
        if data is None:
            return None
        try:
            content = json.loads(gzip.decompress(data) if key.endswith(".gz") else data)
            if content["made_of"] == digest:
                return Statistics.from_json(content["statistics"])
        except (EOFError, KeyError, TypeError, ValueError, OSError, zlib.error):
            logger.info("%s is damaged, counting again", key)
        return None

    def _digest(self, shard: int) -> str:
        """A digest of all inputs of the rows of a shard."""
        digest = hashlib.sha256(f"{FORMAT}\n{self.files.get(shard_key(shard))}\n".encode())
        if shard in self.newer:
            for batch in self.newer[shard].combine_chunks().to_batches():
                digest.update(batch.serialize())
        return digest.hexdigest()

    def _keep(self, key: str, data: bytes) -> None:
        if not self.is_writable:
            return
        try:
            self.run.replace(key, gzip.compress(data, 1, mtime=0) if key.endswith(".gz") else data)
        except STORE_ERRORS as error:
            with self._lock:
                if self.is_writable:
                    logger.warning("statistics are not kept in %s: %s", self.run.location, error)
                self.is_writable = False


def _versions(run: RunFolder) -> dict[str, str]:
    """The version of each data file, which changes when it is rewritten; one listing."""
    return {
        entry["path"]: f"{entry['e_tag']} {entry['size']} {entry['last_modified']}"
        for entry in run.entries(data_folder(0))
    }


def _by_shard(run: RunFolder, newest: pa.Table) -> dict[int, pa.Table]:
    """The newer rows of each shard that has any, sorted by image id."""
    plan = load_plan(run)
    if plan is None or not newest.num_rows:
        return {}
    return dict(_find_shards(run, -(-plan.num_shards // SHARDS_A_PART), newest))


def _find_shards(
    run: RunFolder, num_parts: int, newest: pa.Table
) -> Iterator[tuple[int, pa.Table]]:
    for part in range(num_parts):
        planned = open_part(run, part).read(columns=["image_id", "shard"])
        planned = planned.filter(pc.is_in(planned["image_id"], value_set=newest["image_id"]))
        for shard in planned["shard"].unique().to_pylist():
            mine = planned.filter(pc.equal(planned["shard"], shard))["image_id"]
            rows = newest.filter(pc.is_in(newest["image_id"], value_set=mine))
            yield shard, rows.sort_by("image_id")


def _json(digest: str, statistics: Statistics) -> bytes:
    content = {"made_of": digest, "statistics": statistics.to_json()}
    return json.dumps(content, separators=(",", ":")).encode()
