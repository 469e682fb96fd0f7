"""One worker's work, called without a job around it."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray

from pipelines.label.board import Board, start_board
from pipelines.label.job import MAX_TRIES, LabelJob, ShardLabeller
from pipelines.planning.prepare import PreparedRun, prepare
from pipelines.run.folder import RunFolder
from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError
from possam_core.evaluation.consistency import is_sampled
from tests.factories import encode, make_pixels

NUM_IMAGES = 12


@pytest.fixture
def board(ray_cluster: None) -> Board:
    """A board of the test's own."""
    return start_board()


@pytest.fixture
def config(tmp_path: Path, tiny_model: str) -> LabelConfig:
    """Twelve images in six shards."""
    (tmp_path / "images").mkdir()
    for i in range(NUM_IMAGES):
        (tmp_path / f"images/{i:02d}.jpg").write_bytes(encode(make_pixels(seed=i)))
    return LabelConfig(
        images=str(tmp_path / "images"),
        output=str(tmp_path / "run"),
        model=tiny_model,
        shard_size=2,
        consistency_share=0.5,
    )


def labeller_for(config: LabelConfig, board: Board) -> tuple[ShardLabeller, PreparedRun]:
    prepared = prepare(config)
    job = LabelJob(config=config, plan=prepared.plan, vocabulary=prepared.vocabulary)
    return ShardLabeller(job, board), prepared


def call(labeller: ShardLabeller, shard: int, attempts_before: int = 0) -> dict[str, Any]:
    (result,) = labeller({"shard": [shard], "attempts_before": [attempts_before]})
    return {name: values[0] for name, values in result.items()}


def test_the_bytes_of_a_shard_do_not_depend_on_what_was_labelled_before(
    config: LabelConfig, board: Board, tmp_path: Path
) -> None:
    files = []
    for output, order in (("run", range(6)), ("again", reversed(range(6)))):
        changed = replace(config, output=str(tmp_path / output))
        labeller, _ = labeller_for(changed, board)
        assert [call(labeller, shard)["outcome"] for shard in order] == ["committed"] * 6
        paths = sorted((tmp_path / output / "data").rglob("*.parquet"))
        files.append([path.read_bytes() for path in paths])
    assert files[0] == files[1]
    rows = [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]
    measured = [row["quality"]["consistency"] is not None for row in rows]
    assert measured == [is_sampled(row["image_id"], 0.5) for row in rows]
    assert set(measured) == {True, False}
    assert ray.get(board.num_images.remote()) == NUM_IMAGES


def test_a_shard_that_another_run_committed_first_counts_as_done(
    config: LabelConfig, board: Board
) -> None:
    labeller, _ = labeller_for(config, board)
    assert call(labeller, 3)["outcome"] == "committed"
    again = call(labeller, 3)
    assert (again["outcome"], again["rows"]) == ("existed", 0)


def test_after_a_halt_no_shard_is_started(config: LabelConfig, board: Board) -> None:
    labeller, prepared = labeller_for(config, board)
    board.stop.remote("enough")
    result = call(labeller, 0)
    assert (result["outcome"], result["problem"]) == ("open", "enough")
    assert prepared.run.count_attempts() == {}


def test_a_shard_that_keeps_killing_its_worker_stays_open(
    config: LabelConfig, board: Board
) -> None:
    labeller, prepared = labeller_for(config, board)
    for _ in range(MAX_TRIES):
        prepared.run.start_attempt(0)
    result = call(labeller, 0)
    assert (result["outcome"], result["problem"]) == ("open", "it killed its worker 4 times")


def test_the_third_attempt_is_careful_and_gives_the_same_bytes(
    config: LabelConfig, board: Board, tmp_path: Path
) -> None:
    labeller, prepared = labeller_for(config, board)
    call(labeller, 0)
    file = next((tmp_path / "run/data").rglob("*.parquet"))
    expected = file.read_bytes()
    file.unlink()
    prepared.run.start_attempt(0)
    assert call(labeller, 0)["outcome"] == "committed"
    assert file.read_bytes() == expected


def test_transient_trouble_leaves_the_shard_open_and_says_why(
    config: LabelConfig, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    labeller, prepared = labeller_for(config, board)

    def fail(_: object) -> None:
        raise TimeoutError("the store is asleep")

    monkeypatch.setattr(labeller.labeller.reader, "fetch", fail)
    result = call(labeller, 0)
    assert (result["outcome"], result["problem"]) == ("open", "TimeoutError: the store is asleep")
    assert prepared.run.committed_shards() == set()


def test_a_model_that_fails_on_one_image_fails_that_image_alone(
    config: LabelConfig, board: Board, tmp_path: Path
) -> None:
    labeller, _ = labeller_for(config, board)
    predict = labeller.labeller.predictor

    def fail_on_tall_images(images: list[Any]) -> Any:
        if any(image.shape[0] > 60 for image in images):
            raise RuntimeError("no tall images at 0x7f00")
        return predict(images)

    labeller.labeller.predictor = fail_on_tall_images  # type: ignore[assignment]
    (tmp_path / "images/00.jpg").write_bytes(encode(make_pixels(64, 64)))
    replanned = replace(config, output=str(tmp_path / "other"))
    other, _ = labeller_for(replanned, board)
    other.labeller = labeller.labeller
    assert (call(other, 0)["errors"], call(other, 1)["errors"]) == (1, 0)
    row = pq.read_table(next((tmp_path / "other/data").rglob("*.parquet"))).to_pylist()[0]
    assert row["error_code"] == "inference_failed"
    assert row["error_message"] == "RuntimeError: no tall images"


def test_weights_that_changed_under_the_plan_are_refused(
    config: LabelConfig, board: Board, other_model: Path
) -> None:
    prepared = prepare(config)
    changed = LabelJob(
        config=replace(config, model=str(other_model)),
        plan=prepared.plan,
        vocabulary=prepared.vocabulary,
    )
    with pytest.raises(ConfigError, match="weights that the plan names"):
        ShardLabeller(changed, board)


def call_block(labeller: ShardLabeller, shards: list[int]) -> list[dict[str, Any]]:
    results = labeller({"shard": shards, "attempts_before": [0] * len(shards)})
    return [{name: values[0] for name, values in result.items()} for result in results]


def test_a_shard_is_written_while_the_next_is_labelled(
    config: LabelConfig, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    labeller, _ = labeller_for(config, board)
    has_begun, commit = threading.Event(), labeller.run.commit

    def start_attempt(shard: int, round: int) -> int:
        if shard == 1:
            has_begun.set()
        return RunFolder.start_attempt(labeller.run, shard, round)

    def commit_late(shard: int, data: bytes, round: int) -> bool:
        assert has_begun.wait(60)  # never, if the next shard waited for this one
        return commit(shard, data, round)

    monkeypatch.setattr(labeller.run, "start_attempt", start_attempt)
    monkeypatch.setattr(labeller.run, "commit", commit_late)
    results = call_block(labeller, [0, 1, 2])
    assert [(r["shard"], r["outcome"], r["rows"]) for r in results] == [
        (0, "committed", 2),
        (1, "committed", 2),
        (2, "committed", 2),
    ]


def test_in_careful_mode_a_shard_is_written_before_the_next_begins(
    config: LabelConfig, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    labeller, prepared = labeller_for(config, board)
    for _ in range(2):
        prepared.run.start_attempt(0)
    begun: list[int] = []

    def start_attempt(shard: int, round: int) -> int:
        begun.append(shard)
        assert shard == 0 or labeller.run.is_committed(0, round)
        return RunFolder.start_attempt(labeller.run, shard, round)

    monkeypatch.setattr(labeller.run, "start_attempt", start_attempt)
    assert [r["outcome"] for r in call_block(labeller, [0, 1])] == ["committed"] * 2
    assert begun == [0, 1]


def test_a_shard_that_cannot_be_written_stays_open_and_the_next_is_labelled(
    config: LabelConfig, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    labeller, _ = labeller_for(config, board)
    commit = labeller.run.commit

    def fail_first(shard: int, data: bytes, round: int) -> bool:
        if shard == 0:
            raise OSError("the disk is full")
        return commit(shard, data, round)

    monkeypatch.setattr(labeller.run, "commit", fail_first)
    results = call_block(labeller, [0, 1])
    assert [r["outcome"] for r in results] == ["open", "committed"]
    assert results[0]["problem"] == "OSError: the disk is full"
