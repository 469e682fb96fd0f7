"""A run as a Ray Dataset."""

from functools import partial
from typing import Protocol

import pyarrow as pa
import ray.data


class RowShards(Protocol):
    """Rows in shards, such as those of `LabelledRun`; the object is sent to the tasks."""

    def shards(self) -> list[int]:
        """The numbers of the shards."""

    def read_shard(self, shard: int) -> pa.Table:
        """The rows of one shard."""


def ray_dataset(run: RowShards) -> ray.data.Dataset:
    """The kept rows of `run`, one an image; nothing is read until the result is consumed."""
    shards = ray.data.from_items([{"shard": shard} for shard in run.shards()])
    # Ray's own Parquet reader would trust any schema and code in a file.
    return shards.map_batches(partial(_read_shards, run), batch_size=1, batch_format="pyarrow")


def _read_shards(run: RowShards, batch: pa.Table) -> pa.Table:
    """The rows of the shards that `batch` names."""
    return pa.concat_tables([run.read_shard(shard) for shard in batch["shard"].to_pylist()])
