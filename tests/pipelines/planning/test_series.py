"""Series of runs: new images, claims, and two calls at once."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

import pipelines.planning.series
from pipelines.label.rows import error_row, shard_bytes
from pipelines.planning.series import Series
from pipelines.run.finalise import finalise
from pipelines.run.folder import RunFolder
from pipelines.run.parts import read_shard
from pipelines.run.plan import load_plan
from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError
from possam_core.images.decode import ImageError, ImageErrorCode
from tests.factories import encode, make_pixels


@pytest.fixture
def config(tmp_path: Path, tiny_model: str) -> LabelConfig:
    (tmp_path / "images").mkdir()
    return LabelConfig(
        images=str(tmp_path / "images"),
        output=str(tmp_path / "series"),
        model=tiny_model,
        shard_size=4,
    )


def add(config: LabelConfig, *seeds: int) -> None:
    for seed in seeds:
        path = Path(config.images, f"{seed:03d}.jpg")
        path.write_bytes(encode(make_pixels(8, 8, seed=seed)))


def planned(run: LabelConfig | None) -> list[str]:
    """Names of the planned images."""
    assert run is not None
    folder = RunFolder(run.output)
    plan = load_plan(folder)
    assert plan is not None
    images = (image for shard in range(plan.num_shards) for image in read_shard(folder, shard))
    return [Path(image.uri).stem for image in images]


def drafts(config: LabelConfig) -> list[Path]:
    """Files of the drafts that have not been removed."""
    return list(Path(config.output).glob("_drafts/*"))


def finish(run: LabelConfig | None) -> None:
    """Commit every shard of a run without a model: each image gets an error row."""
    assert run is not None
    folder = RunFolder(run.output)
    plan = load_plan(folder)
    assert plan is not None
    error = ImageError(ImageErrorCode.DECODE_FAILED, "a stand-in for a model")
    for shard in range(plan.num_shards):
        rows = [error_row(image, error) for image in read_shard(folder, shard)]
        folder.commit(shard, shard_bytes(rows, {"plan_id": plan.plan_id}))
    finalise(folder)


def test_each_run_has_what_no_earlier_one_has_planned(config: LabelConfig) -> None:
    add(config, *range(9))
    first = Series(config).plan_new()
    finish(first)
    assert Series(config).plan_new() is None
    add(config, *range(9, 59))
    second = Series(config).plan_new()
    assert planned(first) == [f"{i:03d}" for i in range(9)]
    assert planned(second) == [f"{i:03d}" for i in range(9, 59)]
    assert second is not None
    assert Path(second.output).name == "000002"
    finish(second)
    assert Series(config).plan_new() is None


def test_an_image_that_changed_is_new_and_a_copy_of_a_planned_one_is_not(
    config: LabelConfig,
) -> None:
    add(config, 1, 2)
    images = Path(config.images)
    (images / "copy.jpg").write_bytes((images / "001.jpg").read_bytes())
    assert planned(Series(config).plan_new()) == ["001", "002"]
    (images / "late-copy.jpg").write_bytes((images / "002.jpg").read_bytes())
    assert Series(config).plan_new() is None
    (images / "001.jpg").write_bytes(encode(make_pixels(8, 8, seed=9)))
    # What was a copy of it still has the content that run 1 has labelled.
    assert planned(Series(config).plan_new()) == ["001"]


def test_empty_files_are_not_copies_of_each_other(config: LabelConfig) -> None:
    Path(config.images, "a.jpg").write_bytes(b"")
    assert planned(Series(config).plan_new()) == ["a"]
    Path(config.images, "b.jpg").write_bytes(b"")
    assert planned(Series(config).plan_new()) == ["b"]


def test_ids_that_a_manifest_gives_are_known_again(config: LabelConfig) -> None:
    add(config, 1, 2)
    manifest = Path(config.images, "list.csv")
    lines = [f"{config.images}/{i:03d}.jpg,mine-{i}" for i in (1, 2)]
    manifest.write_text("\n".join(["uri,image_id", lines[0]]))
    listed = replace(config, images=str(manifest))
    assert planned(Series(listed).plan_new()) == ["001"]
    manifest.write_text("\n".join(["uri,image_id", *lines]))
    assert planned(Series(listed).plan_new()) == ["002"]


def test_a_limit_leaves_the_rest_for_the_next_call(config: LabelConfig) -> None:
    add(config, *range(5))
    limited = replace(config, limit=3)
    assert planned(Series(limited).plan_new()) == ["000", "001", "002"]
    assert planned(Series(limited).plan_new()) == ["003", "004"]


def test_a_run_is_unfinished_until_it_has_a_manifest_and_keeps_its_own_limit(
    config: LabelConfig,
) -> None:
    add(config, *range(5))
    first = Series(replace(config, limit=3)).plan_new()
    assert Series(config).unfinished() == [first]
    finish(first)
    assert Series(config).unfinished() == []


def test_the_loser_of_a_race_for_a_number_plans_again_without_the_images_of_the_winner(
    config: LabelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(config, *range(6))
    others: list[LabelConfig | None] = []
    freeze: Callable[..., object] = pipelines.planning.series.freeze_plan

    def freeze_late(*args: object, **kwargs: object) -> object:
        """Another call claims the number, and an image is added, while this plan is made."""
        plan = freeze(*args, **kwargs)
        if not others:
            others.append(None)
            others[0] = Series(config).plan_new()
            add(config, 6)
        return plan

    monkeypatch.setattr(pipelines.planning.series, "freeze_plan", freeze_late)
    mine = Series(config).plan_new()
    assert planned(others[0]) == [f"{i:03d}" for i in range(6)]
    assert planned(mine) == ["006"]
    assert mine is not None
    assert Path(mine.output).name == "000002"
    assert drafts(config) == []


def test_a_claim_whose_reply_was_lost_counts(
    config: LabelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: Callable[..., bool] = RunFolder.put_new

    def lose_reply(folder: RunFolder, key: str, data: bytes) -> bool:
        """The store has written the claim, and the retry finds that it exists."""
        return put(folder, key, data) and not key.startswith("_claims/")

    add(config, 1, 2)
    monkeypatch.setattr(RunFolder, "put_new", lose_reply)
    assert planned(Series(config).plan_new()) == ["001", "002"]


def test_eight_at_once_plan_every_image_once(config: LabelConfig) -> None:
    add(config, *range(20))
    found: list[LabelConfig | None] = []
    calls = [
        threading.Thread(target=lambda: found.append(Series(config).plan_new())) for _ in range(8)
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert len(found) == 8
    (winner,) = [run for run in found if run is not None]
    assert planned(winner) == [f"{i:03d}" for i in range(20)]
    assert drafts(config) == []


def test_a_claim_whose_owner_died_before_the_plan_was_in_place_is_completed(
    config: LabelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(config, 1)

    def die(series: Series, number: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Series, "_run", die)
        with pytest.raises(KeyboardInterrupt):
            Series(config).plan_new()
    assert not Path(config.output, "000001").exists()
    assert len(drafts(config)) == 1
    (unfinished,) = Series(config).unfinished()
    assert planned(unfinished) == ["001"]
    assert drafts(config) == []
    assert Series(config).plan_new() is None


def test_a_series_keeps_to_one_model(config: LabelConfig, other_model: Path) -> None:
    add(config, 1)
    Series(config).plan_new()
    with pytest.raises(ConfigError, match=r"in .*/000001, got others: model .*choose another"):
        Series(replace(config, model=str(other_model)))


def test_the_ids_are_those_that_plans_have(config: LabelConfig) -> None:
    add(config, 1)
    run = Series(config).plan_new()
    assert run is not None
    (image,) = read_shard(RunFolder(run.output), 0)
    found = pa.record_batch(
        {
            "image_id": pa.nulls(2, pa.string()),
            "uri": ["/elsewhere/001.jpg", "/elsewhere/002.jpg"],
            "size": pa.array([1, 1]),
            "etag": [image.etag, image.etag],
            "relative_uri": ["001.jpg", "002.jpg"],
        }
    )
    taken = pipelines.planning.series._planned(
        [(RunFolder(run.output), load_plan(RunFolder(run.output)))]
    )
    left = pipelines.planning.series._without(found, taken)
    assert left["uri"].to_pylist() == ["/elsewhere/002.jpg"]
