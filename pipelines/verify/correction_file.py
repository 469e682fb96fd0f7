"""Checks a file of corrections against the contract of a row."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.schema import OK, ROW_SCHEMAS
from pipelines.verify.labels import LabelColumns, label_problems
from pipelines.verify.planned import UNREADABLE, one_line

ROWS_AT_ONCE = 128  # in memory, uncompressed
WHO_AND_WHEN = ("author", "corrected_at", "source")
SCHEMAS = {
    version: pa.schema(
        [
            *rows,
            pa.field("author", pa.string()),
            pa.field("corrected_at", pa.timestamp("us", "UTC")),
            pa.field("source", pa.string()),
        ]
    )
    for version, rows in ROW_SCHEMAS.items()
}


def correction_problems(
    key: str, data: bytes, image_ids: set[str], *, version: str
) -> Iterator[str]:
    """The problems of one file of corrections; the ids of its images are added to `image_ids`.

    Args:
        key: of the file.
        data: its bytes.
        image_ids: gets the ids of its images.
        version: of the schema of the run's files.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        found = (file.schema_arrow.metadata or {}).get(b"schema_version", b"").decode()
        if found != version or not file.schema_arrow.equals(SCHEMAS[version]):
            yield f"{key}: has other columns than corrections of schema {version}"
            return
        for rows in file.iter_batches(ROWS_AT_ONCE):
            yield from (f"{key}: {problem}" for problem in _row_problems(rows))
            image_ids.update(rows.column("image_id").to_pylist())
    except UNREADABLE as error:
        yield f"{key}: cannot be read ({one_line(error)})"


def _row_problems(rows: pa.RecordBatch) -> Iterator[str]:
    labels = LabelColumns(rows)
    columns = rows.drop_columns(["segments_info", "quality"]).to_pylist()
    is_graded = rows.column("quality").is_valid().to_pylist()
    for i, row in enumerate(columns):
        image_id = row["image_id"]
        problems = [f"does not say its {n}" for n in WHO_AND_WHEN if row[n] is None]
        if row["status"] != OK or not is_graded[i] or not row["width"] or not row["height"]:
            problems.append("is corrected, but has no size, labels or quality")
        else:
            problems += label_problems(labels.image(i))
        yield from (f"image {image_id}: {problem}" for problem in problems)
