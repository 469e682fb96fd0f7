"""The part files of a plan: which images each shard holds."""

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus.image import InputImage
from pipelines.run.folder import PLAN_FOLDER, RunFolder, plan_part_key
from possam_core.errors import ConfigError

SHARDS_A_PART = 16  # one row group each, so a worker reads its rows without a search


def read_shard(run: RunFolder, shard: int, folder: str = PLAN_FOLDER) -> list[InputImage]:
    """The planned images of one shard, in plan order; `folder` is `parts_folder` of the plan.

    Raises:
        ConfigError: the part file is missing.
    """
    part = open_part(run, shard // SHARDS_A_PART, folder)
    table = part.read_row_group(shard % SHARDS_A_PART)
    return [InputImage(**row) for row in table.drop_columns(["shard", "position"]).to_pylist()]


def open_part(run: RunFolder, part: int, folder: str = PLAN_FOLDER) -> pq.ParquetFile:
    """The images of SHARDS_A_PART shards, a row group each; `folder` as for `read_shard`.

    Raises:
        ConfigError: the part file is missing.
    """
    key = plan_part_key(part, folder)
    data = run.read(key)
    if data is None:
        raise ConfigError(f"expected {key} in {run.location}, found none; restore it")
    return pq.ParquetFile(pa.BufferReader(data))
