"""`possam compact`: the newest row of every image, in a few large files for analysis and training.

The table is derived from the run, which is not changed, and can be made again at any time.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.run.committed import open_committed, read_committed
from pipelines.run.folder import SCHEMA_VERSION, SHARD_KEY, RunFolder
from pipelines.run.manifest import Manifest, read_manifest
from pipelines.schema import ROW_SCHEMA
from pipelines.storage.store import failure_named
from possam_core.errors import ConfigError

HEAD_NAME = "_table.json"
TARGET_BYTES = 384 * 2**20  # a file closes above it: all but the last have 256 to 512 MiB
ROWS_A_GROUP = 1024
GROUPS_A_FILE = 6  # at least, so that the last group of a file adds little to it
# Fixed by the plan, so the same in every shard.
PROVENANCE = (
    "plan_id",
    "schema_version",
    "model",
    "model_sha256",
    "vocabulary",
    "vocabulary_sha256",
    "teacher",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """One file of the table."""

    key: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """A complete table."""

    location: str  # of the run
    folder: str  # of the table, in the run
    files: tuple[TableFile, ...]
    is_new: bool  # False: it already existed
    other_folders: tuple[str, ...]  # tables of earlier states of the run, not touched


def compact_run(
    location: str,
    *,
    target_bytes: int = TARGET_BYTES,
    on_shard: Callable[[int, int], None] = lambda done, total: None,
) -> CompactReport:
    """Write the table of the finished run at `location`, unless it exists already.

    Each file is first written whole to the folder for temporary files.

    Args:
        location: of the run folder.
        target_bytes: a file is closed once it is as large; all but the last have 2/3 to 4/3 of it.
        on_shard: called with the number of shards read and their total.

    Raises:
        ConfigError: there is no finished run, it changed meanwhile, or writing failed.
    """
    if target_bytes < 1:
        raise ConfigError(f"target_bytes must be at least 1, got {target_bytes}; leave it out")
    run = open_committed(location)
    manifest = _require_finished(run)
    expected = f"expected to write a table in {run.location}, but that failed"
    with failure_named(expected, remedy="mend it and compact again"):
        corrections = run.correction_keys()
        folder = f"table/{_state(manifest, corrections)[:16]}"
        head = run.read_json(f"{folder}/{HEAD_NAME}")
        is_new = head is None
        if head is None:
            files = _write_files(run, folder, _counting(run, manifest, on_shard), target_bytes)
            head = _write_head(run, folder, manifest, files, corrections)
        tables = {"/".join(key.split("/")[:2]) for key in run.keys("table")}
    return CompactReport(
        location=run.location,
        folder=folder,
        files=tuple(TableFile(**file) for file in head["files"]),
        is_new=is_new,
        other_folders=tuple(sorted(tables - {folder})),
    )


def _state(manifest: Manifest, corrections: Sequence[str]) -> str:
    """A hash over the files of which the table is made; without corrections the root hash."""
    if not corrections:
        return manifest.root_hash
    return hashlib.sha256("\n".join([manifest.root_hash, *corrections]).encode()).hexdigest()


def _require_finished(run: RunFolder) -> Manifest:
    """The manifest, if it counts exactly the files that the run has."""
    manifest = read_manifest(run)
    counted = set() if manifest is None else {file.key for file in manifest.files}
    if manifest is None or counted != {k for k in run.keys("") if SHARD_KEY.fullmatch(k)}:
        raise ConfigError(
            f"expected a finished run at {run.location}, but its manifest is missing or older than"
            " its files; run possam label again to finish it"
        )
    return manifest


def _counting(
    run: RunFolder, manifest: Manifest, on_shard: Callable[[int, int], None]
) -> Iterator[pa.Table]:
    """The newest rows of each shard; `on_shard` is called after each."""
    total = sum(file.key.startswith("data/") for file in manifest.files)
    for done, shard in enumerate(read_committed(run), start=1):
        yield shard.rows
        on_shard(done, total)


def _write_files(
    run: RunFolder, folder: str, shards: Iterator[pa.Table], target_bytes: int
) -> list[TableFile]:
    """Write all files of the table except its head; what an interrupted call wrote is removed."""
    run.remove(run.keys(folder))
    groups = _row_groups(shards, target_bytes // GROUPS_A_FILE)
    files: list[TableFile] = []
    with tempfile.TemporaryDirectory(prefix="possam-table-") as temporary:
        path = Path(temporary) / "part.parquet"
        for group in groups:  # the first of a file; `_write_file` takes the others
            rows = _write_file(path, chain([group], groups), target_bytes)
            key = f"{folder}/part-{len(files):05d}.parquet"
            run.replace_file(key, path)
            files.append(TableFile(key=key, rows=rows, bytes=path.stat().st_size))
    return files


def _write_head(
    run: RunFolder,
    folder: str,
    manifest: Manifest,
    files: list[TableFile],
    corrections: Sequence[str],
) -> dict[str, Any]:
    """Write the head, without which the table counts as interrupted."""
    rows = sum(file.rows for file in files)
    if rows != manifest.totals.images:
        raise ConfigError(
            f"expected {manifest.totals.images} rows in {run.location}, got {rows}; find out what"
            " changed with possam verify"
        )
    head = {
        "plan_id": manifest.plan_id,
        "root_hash": manifest.root_hash,
        "schema_version": SCHEMA_VERSION,
        "corrections": list(corrections),
        "rows": rows,
        "files": [asdict(file) for file in files],
    }
    run.replace(f"{folder}/{HEAD_NAME}", json.dumps(head, indent=2).encode())
    return head


def _write_file(path: Path, groups: Iterator[pa.Table], target_bytes: int) -> int:
    """Write groups of rows until the file has `target_bytes`; returns its number of rows."""
    first = next(groups)
    rows = 0
    with (
        pa.OSFile(str(path), "wb") as file,
        pq.ParquetWriter(file, first.schema, compression="zstd") as writer,
    ):
        for group in chain([first], groups):
            writer.write_table(group, row_group_size=group.num_rows)
            rows += group.num_rows
            if file.tell() >= target_bytes:
                break
    return rows


def _row_groups(shards: Iterator[pa.Table], max_bytes: int) -> Iterator[pa.Table]:
    """The rows of all shards in groups of `ROWS_A_GROUP`, or fewer if they are large."""
    metadata: dict[bytes, bytes] | None = None
    waiting = ROW_SCHEMA.empty_table()
    for rows in shards:
        if metadata is None:
            metadata = {k: v for k, v in rows.schema.metadata.items() if k.decode() in PROVENANCE}
        waiting = pa.concat_tables([waiting, rows.replace_schema_metadata(None)])
        while waiting.num_rows >= (size := _group_size(waiting, max_bytes)):
            yield waiting.slice(0, size).replace_schema_metadata(metadata)
            waiting = waiting.slice(size)
    if waiting.num_rows:
        yield waiting.replace_schema_metadata(metadata)


def _group_size(rows: pa.Table, max_bytes: int) -> int:
    """How many rows of such a size make a group."""
    bytes_a_row = rows.nbytes / max(rows.num_rows, 1)
    return max(1, min(ROWS_A_GROUP, int(max_bytes / max(bytes_a_row, 1))))
