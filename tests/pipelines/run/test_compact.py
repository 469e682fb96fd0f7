import json
import random
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.run import compact
from pipelines.run.compact import compact_run
from pipelines.run.finalise import finalise
from pipelines.run.folder import RunFolder
from pipelines.verify import verify_run
from possam_core.errors import ConfigError
from tests.pipelines.damaging import Rows, add_retry, read_rows, rewrite

BROKEN_SCENE, FAILED = 1, 1  # the one image that is none, and its row in the first shard


@pytest.fixture
def run(make_run: Callable) -> Path:
    """A finished run of five images in shards of three and two."""
    made = make_run(5, damage={BROKEN_SCENE: b"no image"}).run
    for shard in (0, 1):
        rewrite(made, shard=shard, metadata={"shard": str(shard), "model_sha256": "12"})
    finalise(RunFolder(str(made)))
    return made


def root_hash(run: Path) -> str:
    return json.loads((run / "_manifest.json").read_text())["root_hash"]


def read_table(run: Path) -> pa.Table:
    """The rows of all files of the current table."""
    files = sorted((run / "table" / root_hash(run)[:16]).glob("part-*.parquet"))
    return pa.concat_tables([pq.ParquetFile(path).read() for path in files])


def test_a_table_holds_every_row_in_plan_order_and_says_where_it_comes_from(run: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = compact_run(str(run), on_shard=lambda done, total: calls.append((done, total)))
    assert report.is_new
    assert report.folder == f"table/{root_hash(run)[:16]}"
    assert report.other_folders == ()
    assert calls == [(1, 2), (2, 2)]
    table = read_table(run)
    assert table.to_pylist() == read_rows(run, 0) + read_rows(run, 1)
    plan_id = json.loads((run / "_plan/plan.json").read_text())["plan_id"]
    metadata = {"plan_id": plan_id, "schema_version": "3", "model_sha256": "12"}
    assert table.schema.metadata == {k.encode(): v.encode() for k, v in metadata.items()}
    (part,) = report.files
    assert (part.rows, part.bytes) == (5, (run / part.key).stat().st_size)
    assert json.loads((run / report.folder / "_table.json").read_text()) == {
        "plan_id": plan_id,
        "root_hash": root_hash(run),
        "schema_version": "3",
        "corrections": [],
        "rows": 5,
        "files": [{"key": part.key, "rows": 5, "bytes": part.bytes}],
    }
    assert verify_run(str(run)).problems == []


def test_a_table_holds_the_newest_row_of_a_retried_image(run: Path) -> None:
    rows = read_rows(run)
    identity = {name: rows[FAILED][name] for name in ("image_id", "uri", "etag")}
    newest = rows[0] | identity
    add_retry(run, [newest])
    finalise(RunFolder(str(run)))
    compact_run(str(run))
    assert read_table(run).to_pylist() == [rows[0], newest, rows[2], *read_rows(run, 1)]


def test_a_second_call_finds_the_table_and_does_nothing(run: Path) -> None:
    first = compact_run(str(run))
    part = run / first.files[0].key
    part.write_bytes(b"untouched")
    second = compact_run(str(run))
    assert not second.is_new
    assert second.files == first.files
    assert part.read_bytes() == b"untouched"


def test_an_interrupted_table_starts_again(run: Path) -> None:
    folder = run / "table" / root_hash(run)[:16]
    folder.mkdir(parents=True)
    for number in (0, 7):
        (folder / f"part-{number:05d}.parquet").write_bytes(b"left by a try that was killed")
    assert compact_run(str(run)).is_new
    assert sorted(path.name for path in folder.iterdir()) == ["_table.json", "part-00000.parquet"]
    assert read_table(run).num_rows == 5


def test_tables_of_other_states_of_the_run_are_named_and_left_alone(run: Path) -> None:
    old = run / "table" / "0123456789abcdef"
    old.mkdir(parents=True)
    (old / "_table.json").write_text("{}")
    report = compact_run(str(run))
    assert report.other_folders == ("table/0123456789abcdef",)
    assert (old / "_table.json").read_text() == "{}"


def test_all_files_but_the_last_have_two_to_four_thirds_of_the_target(make_run: Callable) -> None:
    made = make_run(12).run
    chance = random.Random(0)
    num_bytes = 125_000  # a row; its hexadecimal digits take twice that, compressed as many again

    def fatten(rows: Rows) -> None:
        for row in rows:
            row["error_message"] = chance.randbytes(num_bytes).hex()

    for shard in range(4):
        rewrite(made, fatten, shard=shard)
    finalise(RunFolder(str(made)))
    target = 6 * num_bytes
    *files, last = compact_run(str(made), target_bytes=target).files
    assert len(files) == 1
    assert all(2 / 3 <= file.bytes / target <= 4 / 3 for file in files)
    assert last.bytes <= 4 / 3 * target
    assert sum(file.rows for file in (*files, last)) == read_table(made).num_rows == 12


def test_row_groups_are_filled_from_several_shards(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact, "ROWS_A_GROUP", 4)
    report = compact_run(str(run))
    metadata = pq.ParquetFile(run / report.files[0].key).metadata
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes == [4, 1]
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_an_unfinished_run_is_refused(run: Path) -> None:
    add_retry(run, read_rows(run)[FAILED : FAILED + 1])
    with pytest.raises(ConfigError, match="older than its files; run possam label again"):
        compact_run(str(run))
    (run / "_manifest.json").unlink()
    with pytest.raises(ConfigError, match="its manifest is missing"):
        compact_run(str(run))
    assert not (run / "table").exists()


def test_a_run_that_lost_rows_gets_no_table(run: Path) -> None:
    rewrite(run, lambda rows: rows.pop())
    with pytest.raises(ConfigError, match="got 4; find out what changed"):
        compact_run(str(run))
    assert not list(run.glob("table/*/_table.json"))


def test_a_target_below_one_byte_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        compact_run(str(run), target_bytes=0)


def test_a_place_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found none"):
        compact_run(str(tmp_path))


def test_a_table_that_cannot_be_written_is_one_sentence(run: Path) -> None:
    (run / "table").write_text("in the way")
    with pytest.raises(ConfigError, match="that failed"):
        compact_run(str(run))


def test_a_table_can_lie_in_a_bucket(run: Path, s3_server: str, tmp_path: Path) -> None:
    filesystem = fsspec.filesystem("s3")
    filesystem.makedirs("tables", exist_ok=True)
    location = f"s3://tables/{tmp_path.name}"
    filesystem.put(f"{run}/", f"{location}/", recursive=True)
    report = compact_run(location)
    assert verify_run(location).problems == []
    with filesystem.open(f"{location}/{report.files[0].key}") as stream:
        assert pq.ParquetFile(stream).read().num_rows == 5
    assert not compact_run(location).is_new
