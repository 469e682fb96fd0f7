"""Checks one file of a run against the plan."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.schema import ERROR, OK, ROW_SCHEMAS
from pipelines.verify.labels import LabelColumns, label_problems
from pipelines.verify.planned import UNREADABLE, PlannedShard, one_line
from possam_core.images.decode import ImageErrorCode

ROWS_AT_ONCE = 128  # in memory, uncompressed
MAX_PROBLEMS = 20  # reported for one file: all of its rows may have the same one
ERROR_CODES = frozenset(code.value for code in ImageErrorCode)
SIZE_COLUMNS = ("width", "height", "exif_orientation")


@dataclass(slots=True, kw_only=True)
class FileCount:
    """The counts of one file, and its problems."""

    key: str
    sha256: str
    problems: list[str] = field(default_factory=list)
    num_rows: int = 0
    num_ok: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # image_id -> error code
    num_things: int = 0
    num_stuff: int = 0
    score_sum: float = 0.0  # of the labelled images' mean scores
    coverage_sum: float = 0.0  # of theirs
    grades: Counter[str] = field(default_factory=Counter)


def check_file(shard: PlannedShard, data: bytes) -> FileCount:
    """The counts of the file of `shard`, and its breaches of the plan and of a row's contract."""
    count = FileCount(key=shard.key, sha256=hashlib.sha256(data).hexdigest())
    problems: list[str] = []
    version = shard.round.row_version
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        problems += _header_problems(file, shard)
        if file.schema_arrow.equals(ROW_SCHEMAS[version]):
            problems += _order_problems(file, shard)
            for rows in file.iter_batches(ROWS_AT_ONCE):
                problems += _row_problems(rows, count)
        else:
            problems.append(f"has other columns than rows of schema {version}")
    except UNREADABLE as error:
        problems.append(f"cannot be read ({one_line(error)})")
    count.problems = [f"{shard.key}: {problem}" for problem in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        count.problems.append(f"{shard.key}: and {len(problems) - MAX_PROBLEMS} more problems")
    return count


def _header_problems(file: pq.ParquetFile, shard: PlannedShard) -> Iterator[str]:
    metadata = file.schema_arrow.metadata or {}
    expected = {
        "plan_id": shard.round.plan_id,
        "shard": str(shard.index),
        "schema_version": shard.round.row_version,
    }
    for name, value in expected.items():
        found = metadata.get(name.encode(), b"").decode(errors="replace")
        if found != value:
            yield f"says {name} {found or 'nothing'}, expected {value}"


def _order_problems(file: pq.ParquetFile, shard: PlannedShard) -> Iterator[str]:
    """The first row that is not the planned image."""
    names = ["image_id", "uri"]
    found, planned = (t.select(names).to_pylist() for t in (file.read(names), shard.images))
    if len(found) != len(planned):
        yield f"holds {len(found)} rows, {len(planned)} are planned"
        return
    for row, (mine, theirs) in enumerate(zip(found, planned, strict=True)):
        if mine != theirs:
            yield (
                f"row {row} is image {mine['image_id']} ({mine['uri']}), planned is"
                f" {theirs['image_id']} ({theirs['uri']})"
            )
            return


def _row_problems(rows: pa.RecordBatch, count: FileCount) -> Iterator[str]:
    """Count `rows`; a phrase for each problem of a row."""
    labels, quality = LabelColumns(rows), rows.column("quality")
    scores, coverages, grades = (
        quality.field(name).to_pylist() for name in ("mean_score", "coverage", "grade")
    )
    is_graded = quality.is_valid().to_pylist()
    count.num_rows += rows.num_rows
    for i, row in enumerate(rows.drop_columns(["segments_info", "quality"]).to_pylist()):
        problems = list(_status_problems(row, is_graded[i], labels.num_segments(i)))
        if row["status"] == ERROR:
            count.failed[row["image_id"]] = str(row["error_code"])
        elif not problems:
            image = labels.image(i)
            count.num_ok += 1
            count.num_things += sum(image.is_thing)
            count.num_stuff += len(image.ids) - sum(image.is_thing)
            count.score_sum += scores[i]
            count.coverage_sum += coverages[i]
            count.grades[grades[i]] += 1
            problems += label_problems(image)
        yield from (f"image {row['image_id']}: {problem}" for problem in problems)


def _status_problems(row: dict[str, Any], is_graded: bool, num_segments: int) -> Iterator[str]:
    """The differences between a row and what its status requires."""
    code, sizes = row["error_code"], [row[name] for name in SIZE_COLUMNS]
    if row["status"] == ERROR:
        if code not in ERROR_CODES:
            yield f"has error_code {code!r}, which is no ImageErrorCode"
        if is_graded or num_segments or any(size is not None for size in sizes):
            yield "is an error, but has a size, segments or quality"
    elif row["status"] == OK:
        if code is not None or row["error_message"] is not None:
            yield f"is ok, but has error_code {code!r} or a message"
        if not is_graded or any(size is None or size < 1 for size in sizes):
            yield "is ok, but lacks its size, exif_orientation or quality"
    else:
        yield f"has status {row['status']!r}, expected {OK} or {ERROR}"
