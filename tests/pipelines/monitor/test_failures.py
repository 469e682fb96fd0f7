import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from rich.console import Console

from pipelines.cli.options import print_report
from pipelines.corpus.image import InputImage
from pipelines.label.rows import error_row, shard_bytes
from pipelines.monitor.advice import ADVICE, CAN_RETRY
from pipelines.monitor.failures import FailureReport, read_failures
from pipelines.monitor.failures_table import failures_table
from pipelines.planning.candidates import CANDIDATE_SCHEMA
from pipelines.planning.freeze import write_parts
from pipelines.run.finalise import finalise
from pipelines.run.folder import SCHEMA_VERSION, RunFolder, draft_folder, plan_key, shard_key
from pipelines.run.parts import read_shard
from pipelines.run.plan import load_plan
from possam_core.errors import ConfigError
from possam_core.images.decode import ImageError, ImageErrorCode

HTML = b"<!DOCTYPE html><html></html>"
OPERATIONS = Path(__file__).resolve().parents[3] / "docs/operations.md"


@pytest.fixture
def run(make_run: Callable) -> RunFolder:
    """Eight images in shards of 3, 3 and 2: the first shard is fine, three others fail."""
    return RunFolder(str(make_run(8, damage={3: b"", 5: b"", 7: HTML}).run))


def reasons(report: FailureReport) -> dict[str, int]:
    return {code.code.value: code.num_images for code in report.codes}


def named(report: FailureReport) -> list[str]:
    """The names of all files that the report gives as samples."""
    return [Path(s.uri).name for code in report.codes for s in code.samples]


def retry(run: RunFolder, results: dict[InputImage, ImageErrorCode], round: int = 1) -> None:
    """Plan and commit a round in which these images fail with these codes."""
    plan = load_plan(run)
    assert plan is not None
    planned = pa.RecordBatch.from_pylist([asdict(i) for i in results], schema=CANDIDATE_SCHEMA)
    parts = write_parts(run, [planned], shard_size=3, folder=draft_folder(round, ["empty"]))
    head = {
        "schema_version": SCHEMA_VERSION,
        "plan_id": plan.plan_id,
        "round": round,
        "codes": ["empty"],
        "dropped": {},
    }
    run.put_new(plan_key(round), json.dumps(head | parts.to_json(3)).encode())
    rows = [error_row(image, ImageError(code, "again")) for image, code in results.items()]
    run.commit(0, shard_bytes(rows, {"plan_id": plan.plan_id}), round)


def printed(report: FailureReport) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(failures_table(report))
    return capture.get()


def test_failures_are_counted_by_code_the_most_frequent_first(run: RunFolder) -> None:
    report = read_failures(run.location)
    assert (report.num_images, report.num_rows, report.num_failed, report.num_open) == (8, 8, 3, 0)
    assert list(reasons(report).items()) == [("empty", 2), ("not_an_image", 1)]
    assert [code.share for code in report.codes] == [2 / 8, 1 / 8]
    assert named(report) == ["scene-00003.jpg", "scene-00005.jpg", "scene-00007.jpg"]
    assert report.codes[0].samples[0].message == "the file has zero bytes"


def test_a_narrow_terminal_loses_nothing_of_an_address_or_a_message(
    run: RunFolder, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    report = read_failures(run.location)
    print_report(failures_table(report))
    sample = report.codes[0].samples[0]
    assert f"empty  {sample.uri}  {sample.message}\n" in capsys.readouterr().out


def test_as_many_samples_are_given_as_were_asked_for(run: RunFolder) -> None:
    assert named(read_failures(run.location, samples=1)) == ["scene-00003.jpg", "scene-00007.jpg"]
    assert named(read_failures(run.location, samples=0)) == []


def test_a_finalised_run_gives_the_same_report(run: RunFolder) -> None:
    before = read_failures(run.location)
    finalise(run)
    assert read_failures(run.location) == before


def test_of_a_finalised_run_only_files_with_failures_are_read(run: RunFolder) -> None:
    finalise(run)
    (Path(run.location) / shard_key(0)).unlink()
    assert reasons(read_failures(run.location)) == {"empty": 2, "not_an_image": 1}


def test_an_unfinished_run_says_how_many_images_have_no_row_yet(run: RunFolder) -> None:
    (Path(run.location) / shard_key(1)).unlink()
    report = read_failures(run.location)
    assert (report.num_rows, report.num_open) == (5, 3)
    assert reasons(report) == {"not_an_image": 1}
    assert report.codes[0].share == 1 / 5
    assert "3 more" in printed(report)


def test_a_run_that_has_not_begun_has_no_failures(run: RunFolder) -> None:
    for shard in range(3):
        (Path(run.location) / shard_key(shard)).unlink()
    report = read_failures(run.location)
    assert (report.num_rows, report.num_failed, report.codes) == (0, 0, ())
    assert "8 more" in printed(report)


@pytest.mark.parametrize("is_finalised", [False, True])
def test_the_newest_row_of_an_image_counts(run: RunFolder, is_finalised: bool) -> None:
    first, _, second = read_shard(run, 1)  # the two empty ones
    retry(run, {first: ImageErrorCode.POISON, second: ImageErrorCode.POISON})
    retry(run, {second: ImageErrorCode.NOT_FOUND}, round=2)
    if is_finalised:
        finalise(run)
    report = read_failures(run.location)
    assert report.num_rows == 8
    assert reasons(report) == {"not_an_image": 1, "not_found": 1, "poison": 1}
    assert named(report) == ["scene-00007.jpg", "scene-00005.jpg", "scene-00003.jpg"]


def test_a_retry_is_proposed_for_what_may_succeed_and_for_nothing_else(run: RunFolder) -> None:
    assert read_failures(run.location).retry_command is None  # empty files stay empty
    first, _, second = read_shard(run, 1)
    retry(run, {first: ImageErrorCode.POISON, second: ImageErrorCode.NOT_FOUND})
    report = read_failures(run.location)
    command = f"possam retry {run.location} --codes not_found,poison"
    assert report.retry_command == command
    assert command in printed(report)


def test_the_report_holds_plain_values_for_programs(run: RunFolder) -> None:
    content = read_failures(run.location).to_json()
    assert json.loads(json.dumps(content))["codes"][0]["code"] == "empty"
    assert content["num_open"] == 0


def test_the_table_holds_counts_advice_and_samples(run: RunFolder) -> None:
    text = printed(read_failures(run.location))
    assert "3 of 8 images failed" in text
    assert "25.00%" in text
    assert ADVICE[ImageErrorCode.EMPTY] in text
    assert "scene-00007.jpg" in text


def test_a_run_in_a_bucket_gives_the_same_counts(run: RunFolder, s3_server: str) -> None:
    bucket = fsspec.filesystem("s3")
    bucket.makedirs("runs", exist_ok=True)
    location = f"s3://runs/{Path(run.location).parent.name}"
    bucket.put(run.location, location, recursive=True)
    assert reasons(read_failures(location)) == {"empty": 2, "not_an_image": 1}


def test_a_damaged_file_is_named(run: RunFolder) -> None:
    (Path(run.location) / shard_key(1)).write_bytes(b"no Parquet at all, for sure")
    with pytest.raises(ConfigError, match=r"shard-00000001\.parquet.*label again"):
        read_failures(run.location)


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found no plan"):
        read_failures(str(tmp_path))


def test_every_error_code_has_its_advice() -> None:
    assert set(ADVICE) == set(ImageErrorCode)
    assert set(ADVICE) >= CAN_RETRY


def test_what_can_be_retried_says_so_and_nothing_else_does() -> None:
    assert {code for code, advice in ADVICE.items() if "retry" in advice} == CAN_RETRY


def test_the_manual_gives_the_same_advice() -> None:
    lines = OPERATIONS.read_text(encoding="utf-8").splitlines()
    for code, advice in ADVICE.items():
        assert f"| `{code.value}` | {advice} |" in lines
