"""Later rounds: failed images labelled again, the newest row counts."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pipelines.planning.retry
from pipelines.label.session import run_label, run_retry
from pipelines.planning.retry import prepare_retry, retry_config
from pipelines.run.committed import open_committed, read_committed
from pipelines.run.finalise import finalise
from pipelines.settings.label import LabelConfig
from pipelines.verify import verify_run
from possam_core.errors import ConfigError
from tests.factories import encode, make_pixels

pytestmark = pytest.mark.usefixtures("ray_cluster")

GOOD = {f"{i}.jpg": encode(make_pixels(seed=i)) for i in range(5)}


@pytest.fixture
def run(tmp_path: Path, tiny_model: str) -> LabelConfig:
    """A finished run of seven images: two of them are missing, one is empty."""
    (tmp_path / "images").mkdir()
    for name, data in (GOOD | {"empty.jpg": b""}).items():
        (tmp_path / "images" / name).write_bytes(data)
    (tmp_path / "images/6.jpg").write_bytes(encode(make_pixels(seed=6)))
    config = LabelConfig(
        images=str(tmp_path / "images"),
        output=str(tmp_path / "run"),
        model=tiny_model,
        num_workers=1,
        shard_size=2,
    )
    from pipelines.planning.prepare import prepare

    prepare(config)
    for name in ("1.jpg", "6.jpg"):
        (tmp_path / "images" / name).rename(tmp_path / name)
    report = run_label(config)
    assert report.manifest is not None
    assert report.manifest.totals.errors == {"empty": 1, "not_found": 2}
    return config


def rows_of(config: LabelConfig) -> dict[str, dict[str, Any]]:
    shards = read_committed(open_committed(config.output))
    rows = [row for shard in shards for row in shard.rows.to_pylist()]
    return {Path(row["uri"]).name: row for row in rows}


def bring_back(config: LabelConfig, name: str) -> None:
    images = Path(config.images)
    (images.parent / name).rename(images / name)


def test_a_retry_labels_what_failed_and_its_rows_win(run: LabelConfig) -> None:
    files = sorted((Path(run.output) / "data").rglob("*.parquet"))
    before = [file.read_bytes() for file in files]
    bring_back(run, "1.jpg")
    report = run_retry(retry_config(run.output), ("not_found",))
    assert report.num_images == 2
    assert report.manifest is not None
    totals = report.manifest.totals
    assert (totals.images, totals.ok, totals.errors) == (7, 5, {"empty": 1, "not_found": 1})
    rows = rows_of(run)
    assert list(rows) == sorted(rows)
    assert rows["1.jpg"]["status"] == "ok"
    assert rows["6.jpg"]["error_code"] == "not_found"
    assert [file.read_bytes() for file in files] == before
    assert [file.key for file in report.manifest.files][-1] == (
        "data-retry-001/g=0000/shard-00000000.parquet"
    )


def test_a_second_retry_goes_by_the_newest_rows(run: LabelConfig) -> None:
    bring_back(run, "1.jpg")
    run_retry(retry_config(run.output), ("not_found",))
    bring_back(run, "6.jpg")
    report = run_retry(retry_config(run.output), ("not_found", "empty"))
    assert report.num_images == 2
    assert report.manifest is not None
    assert report.manifest.totals.errors == {"empty": 1}
    assert {name: row["status"] for name, row in rows_of(run).items()} == {
        name: "error" if name == "empty.jpg" else "ok" for name in rows_of(run)
    }
    content = json.loads((Path(run.output) / "_plan/retry-002.json").read_text())
    assert (content["round"], content["codes"]) == (2, ["empty", "not_found"])


def test_a_retry_that_died_before_its_manifest_is_finished_first(run: LabelConfig) -> None:
    manifest = (Path(run.output) / "_manifest.json").read_bytes()
    bring_back(run, "1.jpg")
    finished = run_retry(retry_config(run.output), ("not_found",))
    (Path(run.output) / "_manifest.json").write_bytes(manifest)
    again = run_retry(retry_config(run.output), ("not_found",))
    assert again.is_rerun
    assert again.manifest == finished.manifest


def test_an_open_retry_is_finished_before_another_begins(run: LabelConfig) -> None:
    bring_back(run, "1.jpg")
    run_retry(retry_config(run.output), ("not_found",))
    next((Path(run.output) / "data-retry-001").rglob("*.parquet")).unlink()
    with pytest.raises(ConfigError, match="finish retry 1 of not_found first"):
        run_retry(retry_config(run.output), ("empty",))
    report = run_retry(retry_config(run.output))
    assert (report.num_images, report.manifest is not None) == (2, True)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (("truncated",), "found none"),
        (("truncatd",), "expected codes among"),
        ((), "choose some with --codes"),
    ],
)
def test_a_retry_of_nothing_is_refused(
    run: LabelConfig, codes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run_retry(retry_config(run.output), codes)
    assert not (Path(run.output) / "_plan/retry-001.json").exists()


class Died(BaseException):
    """Raised instead of a kill."""


def test_a_process_that_crashed_while_planning_a_retry_blocks_no_other(
    run: LabelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Died

    bring_back(run, "1.jpg")
    with monkeypatch.context() as patch:
        patch.setattr(
            pipelines.planning.retry, "plan_key", die
        )  # wanted for the head, after the lists
        with pytest.raises(Died):
            run_retry(retry_config(run.output), ("empty",))
    drafts = Path(run.output, "_plan/retry-001")
    (left,) = drafts.iterdir()
    assert verify_run(run.output).problems == []
    report = run_retry(retry_config(run.output), ("not_found",))
    assert report.num_images == 2
    assert not left.exists()
    assert len(list(drafts.iterdir())) == 1
    assert verify_run(run.output).problems == []


def test_the_slower_of_two_retries_at_once_is_refused_until_the_other_is_finished(
    run: LabelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    write: Callable[..., object] = pipelines.planning.retry.write_parts

    def write_late(*args: object, **kwargs: object) -> object:
        """Another process plans a retry while this one is planned."""
        written = write(*args, **kwargs)
        monkeypatch.undo()
        prepare_retry(retry_config(run.output), ("empty",))
        return written

    monkeypatch.setattr(pipelines.planning.retry, "write_parts", write_late)
    with pytest.raises(ConfigError, match="finish retry 1 of empty first"):
        prepare_retry(retry_config(run.output), ("not_found",))
    assert run_retry(retry_config(run.output)).num_images == 1
    assert len(list(Path(run.output, "_plan/retry-001").iterdir())) == 1
    assert verify_run(run.output).problems == []


def test_an_unfinished_run_is_not_retried(run: LabelConfig) -> None:
    next((Path(run.output) / "data").rglob("*.parquet")).unlink()
    with pytest.raises(ConfigError, match="finish it with possam label first"):
        run_retry(retry_config(run.output), ("empty",))


def test_another_model_is_refused(run: LabelConfig, other_model: Path) -> None:
    changed = replace(retry_config(run.output), model=str(other_model))
    with pytest.raises(ConfigError, match="got others: model"):
        run_retry(changed, ("empty",))


def test_finalising_twice_gives_the_same_manifest(run: LabelConfig) -> None:
    bring_back(run, "1.jpg")
    report = run_retry(retry_config(run.output), ("not_found",))
    assert finalise(open_committed(run.output)) == report.manifest
