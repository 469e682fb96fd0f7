"""Newer rows, file by file, against all of them at once."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.run import newer_files
from pipelines.run.committed import CORRECTION_SCHEMA, newest_rows, read_rows
from pipelines.run.folder import SCHEMA_VERSION, RunFolder, correction_key, shard_key
from pipelines.run.newer_files import NewerFiles
from pipelines.schema import ROW_SCHEMA
from tests.pipelines.report.hand_made import halves, write_run


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    labels = {f"{i}.png": halves("cat", "sky", score=0.5) for i in range(6)}
    return RunFolder(write_run(tmp_path, labels, shard_size=2))


def write(run: RunFolder, key: str, schema: pa.Schema, rows: list[dict[str, object]]) -> str:
    stream = pa.BufferOutputStream()
    schema = schema.with_metadata({"schema_version": SCHEMA_VERSION})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), stream)
    run.put_new(key, stream.getvalue().to_pybytes())
    return key


@pytest.fixture
def keys(run: RunFolder) -> list[str]:
    """Two shards of a retry, and two corrections; of image 1 all, of image 3 the first two."""
    rows = [row for shard in range(3) for row in read_rows(run, shard_key(shard)).to_pylist()]

    def scored(place: int, score: float) -> dict[str, object]:
        return rows[place] | {"quality": rows[place]["quality"] | {"mean_score": score}}

    def corrected(place: int, score: float, day: int) -> dict[str, object]:
        when = datetime(2026, 12, day, tzinfo=UTC)
        return scored(place, score) | {"author": "me", "corrected_at": when, "source": "a.json"}

    days = [datetime(2026, 12, day, tzinfo=UTC) for day in (1, 2)]
    return [
        write(run, shard_key(0, 1), ROW_SCHEMA, [scored(1, 0.1), scored(0, 0.15)]),
        write(run, shard_key(1, 1), ROW_SCHEMA, [scored(3, 0.2)]),
        write(run, correction_key(1, days[0]), CORRECTION_SCHEMA, [corrected(1, 0.3, 1)]),
        write(
            run,
            correction_key(2, days[1]),
            CORRECTION_SCHEMA,
            [corrected(1, 0.4, 2), corrected(5, 0.5, 2)],
        ),
    ]


def scores_of(rows: pa.Table) -> dict[str, float]:
    quality = rows["quality"].to_pylist()
    return {
        image_id: round(q["mean_score"], 2)
        for image_id, q in zip(rows["image_id"].to_pylist(), quality, strict=True)
    }


def test_of_each_image_the_row_of_the_newest_file_counts(run: RunFolder, keys: list[str]) -> None:
    ids = [read_rows(run, shard_key(shard))["image_id"] for shard in range(3)]
    newer = NewerFiles(run, keys)
    (a, b), (_, d), (_, f) = (chunk.to_pylist() for chunk in ids)
    assert [scores_of(newer.rows_of(chunk)) for chunk in ids] == [
        {a: 0.15, b: 0.4},
        {d: 0.2},
        {f: 0.5},
    ]
    everyone = newer.rows_of(pa.chunked_array([c for chunk in ids for c in chunk.chunks]))
    at_once = newest_rows(run, keys)
    assert everyone.sort_by("image_id").equals(at_once.sort_by("image_id"))
    corrections = newer.corrections()
    assert {i: c.corrected_at.day for i, c in corrections.items()} == {b: 2, f: 2}


def test_a_shard_reads_the_files_that_have_its_images_and_few_stay_in_memory(
    run: RunFolder, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def reading(folder: RunFolder, key: str) -> pa.Table:
        read.append(key)
        return read_rows(folder, key)

    monkeypatch.setattr(newer_files, "read_rows", reading)
    monkeypatch.setattr(newer_files, "FILES_KEPT", 1)
    newer = NewerFiles(run, keys)
    assert read == []
    newer.rows_of(read_rows(run, shard_key(1))["image_id"])
    newer.rows_of(read_rows(run, shard_key(1))["image_id"])
    assert read == [keys[1]]
    newer.rows_of(read_rows(run, shard_key(2))["image_id"])
    assert read == [keys[1], keys[3]]
