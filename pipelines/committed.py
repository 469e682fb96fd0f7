"""What a run has committed, read back one shard at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.plan import load_plan, load_rounds
from pipelines.run_folder import RunFolder, shard_key
from pipelines.store import normalise_location
from possam_core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedShard:
    """One committed file."""

    shard: int
    rows: pa.Table  # of `schema.ROW_SCHEMA`, one a planned image, in plan order

    @property
    def provenance(self) -> dict[str, str]:
        """What the file says about where its labels come from."""
        metadata = self.rows.schema.metadata or {}
        return {key.decode(): value.decode() for key, value in metadata.items()}


def open_committed(location: str) -> RunFolder:
    """The run at `location`, to read from.

    Raises:
        ConfigError: there is no run, or nothing of it is committed.
    """
    run = RunFolder(normalise_location(location))
    if load_plan(run) is None or not run.committed_shards():
        raise ConfigError(
            f"expected a run with labels at {run.location}, found none; make one with possam label"
        )
    return run


def read_committed(run: RunFolder) -> Iterator[CommittedShard]:
    """Each committed shard, in plan order; an image that a retry has labelled has its newest row.

    Raises:
        ConfigError: a file went or was damaged since it was committed.
    """
    newest = _retried_rows(run)
    for shard in sorted(run.committed_shards()):
        rows = read_rows(run, shard)
        yield CommittedShard(shard=shard, rows=_substitute(rows, newest))


def read_rows(run: RunFolder, shard: int, round: int = 0) -> pa.Table:
    """The rows of one committed file, as they were written.

    Raises:
        ConfigError: the file went or was damaged since it was committed.
    """
    key = shard_key(shard, round)
    data = run.read(key)
    if data is None:
        raise ConfigError(
            f"expected {key} in {run.location}, but it went while it was read; label again to"
            " restore it"
        )
    try:
        return pq.ParquetFile(pa.BufferReader(data)).read()
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"expected Parquet in {run.location}/{key}, got something else ({reason}); delete that"
            " file and label again"
        ) from error


def _retried_rows(run: RunFolder) -> pa.Table | None:
    """The newest row of each image that a retry has committed; None if there is none."""
    newest: dict[str, pa.Table] = {}
    for plan in load_rounds(run)[1:]:
        for shard in sorted(run.committed_shards(plan.round)):
            rows = read_rows(run, shard, plan.round).replace_schema_metadata(None)
            ids = rows["image_id"].to_pylist()
            newest |= {image_id: rows.slice(i, 1) for i, image_id in enumerate(ids)}
    return pa.concat_tables(newest.values()) if newest else None


def _substitute(rows: pa.Table, newest: pa.Table | None) -> pa.Table:
    if newest is None:
        return rows
    places = pc.index_in(rows["image_id"], newest["image_id"])
    if places.null_count == rows.num_rows:
        return rows
    metadata = rows.schema.metadata
    both = pa.concat_tables([rows.replace_schema_metadata(None), newest])
    own = pa.array(range(rows.num_rows), pa.int64())
    chosen = pc.coalesce(pc.add(places.cast(pa.int64()), rows.num_rows), own)
    return both.take(chosen).replace_schema_metadata(metadata)
