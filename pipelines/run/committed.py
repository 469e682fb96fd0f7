"""Reads what a run has committed, one shard at a time.

The row of an image in the newest file counts, by `pipelines.run.newest`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.run.folder import (
    CORRECTION_KEY,
    SCHEMA_VERSION,
    SCHEMA_VERSIONS,
    RunFolder,
    shard_key,
)
from pipelines.run.newest import NewerImages, age_group
from pipelines.run.plan import load_plan, load_rounds
from pipelines.schema import ROW_SCHEMA, ROW_SCHEMAS
from pipelines.storage.addresses import normalise_location
from possam_core.errors import ConfigError, first_line

# A row that people have corrected; the model's rows have nulls in the added columns.
CORRECTION_SCHEMAS = {
    version: pa.schema(
        [
            *rows,
            pa.field("author", pa.string()),
            pa.field("corrected_at", pa.timestamp("us", "UTC")),
            pa.field("source", pa.string()),  # the annotators' file
        ]
    )
    for version, rows in ROW_SCHEMAS.items()
}
CORRECTION_SCHEMA = CORRECTION_SCHEMAS[SCHEMA_VERSION]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commits:
    """What a run had committed at one moment: names of files that never change."""

    shards: tuple[int, ...]  # of the corpus, ascending
    retries: tuple[str, ...]  # keys of the files of later rounds, oldest first
    corrections: tuple[str, ...]  # keys, oldest first

    @property
    def newer(self) -> tuple[str, ...]:
        """Keys of all files that are newer than those of the shards, oldest first."""
        return *self.retries, *self.corrections


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Who has corrected the labels of an image, and when."""

    author: str
    corrected_at: datetime
    source: str  # the annotators' file


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedShard:
    """The newest rows of one shard."""

    shard: int
    rows: pa.Table  # of `schema.ROW_SCHEMA`, one a planned image, in plan order

    @property
    def provenance(self) -> dict[str, str]:
        """The provenance of the labels, from the file's metadata."""
        metadata = self.rows.schema.metadata or {}
        return {key.decode(): value.decode() for key, value in metadata.items()}


def open_committed(location: str) -> RunFolder:
    """The run at `location`, to read from.

    Raises:
        ConfigError: there is no run, or nothing of it is committed.
    """
    run, _ = find_commits(location)
    return run


def find_commits(location: str) -> tuple[RunFolder, Commits]:
    """The run at `location`, and what it has committed by now.

    Raises:
        ConfigError: there is no run, or nothing of it is committed.
    """
    run = RunFolder(normalise_location(location))
    if load_plan(run) is None or not (shards := run.committed_shards()):
        raise ConfigError(
            f"expected a run with labels at {run.location}, found none; make one with possam label"
        )
    return run, Commits(
        shards=tuple(sorted(shards)),
        retries=tuple(_retry_keys(run)),
        corrections=tuple(run.correction_keys()),
    )


def read_committed(run: RunFolder) -> Iterator[CommittedShard]:
    """Each committed shard, in plan order, with each image's corrected or else newest row.

    Raises:
        ConfigError: a file was removed or damaged after its commit.
    """
    return _read_shards(run, [*_retry_keys(run), *run.correction_keys()])


def read_machine_rows(run: RunFolder) -> Iterator[CommittedShard]:
    """Each committed shard, in plan order, without the corrections of its rows.

    Raises:
        ConfigError: a file was removed or damaged after its commit.
    """
    return _read_shards(run, _retry_keys(run))


def not_parquet(uri: str, error: Exception) -> ConfigError:
    """The error about a file of a run that cannot be read."""
    return ConfigError(
        f"expected Parquet in {uri}, got something else ({first_line(error)}); delete that file"
        " and label again"
    )


def open_rows(run: RunFolder, key: str) -> pq.ParquetFile:
    """One file of rows, to read columns of.

    Raises:
        ConfigError: it was removed or damaged after its commit.
    """
    data = run.read(key)
    if data is None:
        raise ConfigError(
            f"expected {key} in {run.location}, but it was removed while it was read; label again"
            " to restore it"
        )
    try:
        return pq.ParquetFile(pa.BufferReader(data))
    except (pa.ArrowInvalid, OSError) as error:
        raise not_parquet(f"{run.location}/{key}", error) from error


def read_rows(run: RunFolder, key: str) -> pa.Table:
    """The rows of one file, of `schema.ROW_SCHEMA` or else, of people, of CORRECTION_SCHEMA.

    Raises:
        ConfigError: it was removed or damaged after its commit, or has another schema.
    """
    try:
        rows = open_rows(run, key).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise not_parquet(f"{run.location}/{key}", error) from error
    schemas = CORRECTION_SCHEMAS if CORRECTION_KEY.fullmatch(key) else ROW_SCHEMAS
    metadata = rows.schema.metadata or {}
    version = metadata.get(b"schema_version", b"unknown").decode()
    if version not in schemas or not rows.schema.equals(schemas[version]):
        found = "other columns" if version in schemas else f"schema {version}"
        raise ConfigError(
            f"expected rows of schema {' or '.join(SCHEMA_VERSIONS)} in {run.location}/{key}, got"
            f" {found}; use the version of possam that made it"
        )
    # Older versions have no nulls where this one may: the same values.
    now = metadata | {b"schema_version": SCHEMA_VERSION.encode()}
    return rows.cast(schemas[SCHEMA_VERSION].with_metadata(now))


def newest_rows(run: RunFolder, keys: Iterable[str]) -> pa.Table:
    """The row that counts of each image in the files `keys`, oldest first; of CORRECTION_SCHEMA.

    Raises:
        ConfigError: as `read_rows`.
    """
    newer = NewerImages()
    newest = [CORRECTION_SCHEMA.empty_table()]
    for _, group in groupby(reversed([*keys]), age_group):
        rows = pa.concat_tables(read_rows(run, k).replace_schema_metadata(None) for k in group)
        newest.append(newer.without(rows))
        newer.add(rows["image_id"].chunks)
    return pa.concat_tables(newest, promote_options="default")


def substitute(rows: pa.Table, newest: pa.Table) -> pa.Table:
    """The same rows in the same order, with the images in `newest` replaced by the rows there."""
    mine = newest.filter(pc.is_in(newest["image_id"], value_set=rows["image_id"]))
    if not mine.num_rows:
        return rows
    places = pc.index_in(rows["image_id"], value_set=mine["image_id"])
    both = pa.concat_tables([rows.replace_schema_metadata(None), mine.select(ROW_SCHEMA.names)])
    own = pa.array(range(rows.num_rows), pa.int64())
    chosen = pc.coalesce(pc.add(places.cast(pa.int64()), rows.num_rows), own)
    return both.take(chosen).replace_schema_metadata(rows.schema.metadata)


def _read_shards(run: RunFolder, newer: Iterable[str]) -> Iterator[CommittedShard]:
    newest = newest_rows(run, newer)
    for shard in sorted(run.committed_shards()):
        rows = read_rows(run, shard_key(shard))
        yield CommittedShard(shard=shard, rows=substitute(rows, newest))


def _retry_keys(run: RunFolder) -> list[str]:
    return [
        shard_key(shard, plan.round)
        for plan in load_rounds(run)[1:]
        for shard in sorted(run.committed_shards(plan.round))
    ]
