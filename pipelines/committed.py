"""What a run has committed, read back one shard at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.plan import load_plan
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


def open_run(location: str) -> RunFolder:
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
    """Each committed shard, in plan order.

    Raises:
        ConfigError: a file went or was damaged since it was committed.
    """
    for shard in sorted(run.committed_shards()):
        data = run.read(shard_key(shard))
        try:
            rows = None if data is None else pq.ParquetFile(pa.BufferReader(data)).read()
        except (pa.ArrowInvalid, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"expected Parquet in {run.location}/{shard_key(shard)}, got something else"
                f" ({reason}); delete that file and label again"
            ) from error
        if rows is None:
            raise ConfigError(
                f"expected {shard_key(shard)} in {run.location}, but it went while it was read;"
                " label again to restore it"
            )
        yield CommittedShard(shard=shard, rows=rows)
