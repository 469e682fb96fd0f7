"""Tests of pipelines.stats.run: the statistics of runs as they lie in folders and buckets."""

import json
import shutil
from collections import Counter
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.run.committed import CORRECTION_SCHEMA, open_committed, read_committed
from pipelines.run.finalise import finalise
from pipelines.run.folder import SCHEMA_VERSION, RunFolder, shard_key
from pipelines.stats import run_statistics, shard_statistics
from pipelines.verify import verify_run
from possam_core.errors import ConfigError
from tests.pipelines.damaging import add_retry, read_rows, rewrite

BROKEN = 1  # of five scenes, in shards of three and two
PARTIALS = [f"stats/shards/g=0000/shard-{shard:08d}.json.gz" for shard in (0, 1)]


@pytest.fixture
def run(make_run) -> Path:
    """A run of four labelled images and one failed one, not finalised."""
    made = make_run(5, damage={BROKEN: b"no image"}).run
    for shard in (0, 1):
        rewrite(made, shard=shard, metadata={"shard": str(shard)})
    return made


def recount(run: Path | str) -> dict[str, object]:
    """The totals of the newest rows, one by one."""
    rows = [row for s in read_committed(open_committed(str(run))) for row in s.rows.to_pylist()]
    segments = [s for row in rows for s in row["segments_info"]]
    return {
        "images": len(rows),
        "errors": Counter(row["error_code"] for row in rows if row["error_code"]),
        "grades": Counter(row["quality"]["grade"] for row in rows if row["quality"]),
        "classes": Counter(s["category_name"] for s in segments),
        "area": sum(s["area"] for s in segments),
    }


def totals(run: Path | str) -> dict[str, object]:
    found = run_statistics(str(run))
    return {
        "images": found.num_images,
        "errors": found.errors,
        "grades": found.grades,
        "classes": {c.name: f.num_segments for c, f in found.by_class().items()},
        "area": found.all_segments().area_px,
    }


def retry(run: Path, row: dict[str, object]) -> None:
    """Commit a retry of the broken image that labels it as another one."""
    failed = read_rows(run)[BROKEN]
    identity = {name: failed[name] for name in ("image_id", "uri", "etag")}
    add_retry(run, [row | identity])


def correct(run: Path, shard: int, position: int) -> None:
    """Commit a correction of one row that leaves its first segment alone."""
    row = read_rows(run, shard)[position]
    row["segments_info"] = row["segments_info"][:1]
    row["quality"] |= {"grade": "A", "reasons": ["corrected"]}
    rows = pa.Table.from_pylist([row | {"author": "ada"}], schema=CORRECTION_SCHEMA)
    (run / "corrections").mkdir()
    metadata = {"schema_version": SCHEMA_VERSION}
    path = run / "corrections/00001-20260131T120000Z.parquet"
    pq.write_table(rows.replace_schema_metadata(metadata), path)


def modified(run: Path) -> list[int]:
    return [(run / key).stat().st_mtime_ns for key in PARTIALS]


def test_totals_equal_a_recount_and_verify_accepts_what_is_kept(run: Path) -> None:
    finalise(RunFolder(str(run)))
    assert totals(run) == recount(run)
    assert totals(run)["errors"] == {"not_an_image": 1}
    assert {path.relative_to(run).as_posix() for path in (run / "stats").rglob("*.json*")} == {
        *PARTIALS,
        "stats/statistics.json",
    }
    grades = pq.read_table(run / "stats/grades.parquet").to_pylist()
    assert {r["grade"]: r["num_images"] for r in grades if not r["reason"]} == recount(run)[
        "grades"
    ]
    assert verify_run(str(run)).problems == []


def test_a_second_call_reads_what_the_first_has_kept(run: Path, monkeypatch) -> None:
    first, before = run_statistics(str(run)), modified(run)
    calls = []
    monkeypatch.setattr("pipelines.stats.run.shard_statistics", None)
    again = run_statistics(str(run), on_shard=lambda done, total: calls.append((done, total)))
    assert again == first
    assert modified(run) == before
    assert calls == []
    (run / "stats/statistics.json").unlink()
    again = run_statistics(str(run), on_shard=lambda done, total: calls.append((done, total)))
    assert again == first
    assert calls == [(1, 2), (2, 2)]


def test_a_shard_committed_later_is_added_and_one_committed_again_is_counted_again(
    run: Path,
) -> None:
    last = run / shard_key(1)
    data = last.read_bytes()
    last.unlink()
    assert totals(run)["images"] == 3
    last.write_bytes(data)
    assert totals(run) == recount(run)
    rewrite(run, lambda rows: rows[0]["segments_info"].pop(), shard=0, metadata={"shard": "0"})
    assert totals(run) == recount(run)


def test_after_a_retry_its_rows_count_and_only_their_shard_is_counted_again(run: Path) -> None:
    before = totals(run)
    kept = modified(run)
    retry(run, read_rows(run, shard=1)[0])
    assert totals(run) == recount(run) != before
    assert totals(run)["errors"] == {}
    assert [a == b for a, b in zip(kept, modified(run), strict=True)] == [False, True]


def test_a_correction_counts_and_only_its_shard_is_counted_again(run: Path) -> None:
    before = totals(run)
    kept = modified(run)
    correct(run, shard=1, position=0)
    assert totals(run) == recount(run) != before
    assert run_statistics(str(run)).num_corrected == 1
    assert [a == b for a, b in zip(kept, modified(run), strict=True)] == [True, False]


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"made_of": 1, "statistics": '])
def test_what_is_kept_can_be_deleted_or_damaged(run: Path, damage: bytes) -> None:
    first = run_statistics(str(run))
    (run / PARTIALS[0]).write_bytes(damage)
    (run / "stats/statistics.json").write_bytes(damage)
    assert run_statistics(str(run)) == first
    shutil.rmtree(run / "stats")
    assert run_statistics(str(run)) == first
    kept = json.loads((run / "stats/statistics.json").read_text())
    assert kept["statistics"] == first.to_json()


def test_the_sum_of_the_shards_is_one_pass(run: Path) -> None:
    rows = pa.concat_tables(
        s.rows.replace_schema_metadata(None) for s in read_committed(open_committed(str(run)))
    )
    assert run_statistics(str(run)).to_json() == shard_statistics(rows).to_json()


def test_a_run_that_cannot_be_written_is_counted_all_the_same(
    run: Path, monkeypatch, caplog
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(RunFolder, "replace", refuse)
    assert totals(run) == recount(run)
    assert not (run / "stats").exists()
    assert caplog.text.count("statistics are not kept") == 1


def test_a_run_in_a_bucket_keeps_its_statistics_there(run: Path, s3_server, tmp_path) -> None:
    filesystem = fsspec.filesystem("s3")
    filesystem.makedirs("statistics", exist_ok=True)
    location = f"s3://statistics/{tmp_path.name}"
    filesystem.put(f"{run}/", f"{location}/", recursive=True)
    assert totals(location) == recount(run)
    assert filesystem.exists(f"{location}/{PARTIALS[1]}")
    assert run_statistics(location) == run_statistics(str(run))


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a run with labels"):
        run_statistics(str(tmp_path))
