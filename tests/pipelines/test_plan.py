import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import plan as plan_module
from pipelines.inputs import InputImage
from pipelines.plan import PlanSettings, freeze_plan, load_plan, read_shard, refuse_other_settings
from pipelines.run_folder import RunFolder
from possam_core.errors import ConfigError

SETTINGS = PlanSettings(
    images="/corpus",
    model="tiny",
    model_sha256="aaaaaaaaaa",
    vocabulary="toys",
    vocabulary_sha256="bbbbbbbbbb",
    shard_size=2,
)
IMAGES = [
    InputImage(image_id=f"id-{i}", uri=f"/corpus/{i}.jpg", size=i, etag=f"e{i}") for i in range(5)
]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(str(tmp_path / "run"), create=True)


def test_shards_cover_the_images_in_order(run: RunFolder) -> None:
    plan = freeze_plan(run, SETTINGS, IMAGES)
    assert (plan.num_images, plan.num_shards) == (5, 3)
    assert [plan.images_in(s) for s in range(3)] == [2, 2, 1]
    assert [i for s in range(3) for i in read_shard(run, s)] == IMAGES


def test_shards_are_found_in_later_parts(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "SHARDS_A_PART", 2)
    freeze_plan(run, SETTINGS, IMAGES)
    assert sorted(run.keys("_plan")) == [
        "_plan/part-00000.parquet",
        "_plan/part-00001.parquet",
        "_plan/plan.json",
    ]
    assert [i for s in range(3) for i in read_shard(run, s)] == IMAGES


def test_a_frozen_plan_stays_as_it_is(run: RunFolder) -> None:
    plan = freeze_plan(run, SETTINGS, IMAGES)
    assert load_plan(run) == plan == freeze_plan(run, SETTINGS, IMAGES)


def test_the_plan_id_depends_on_images_and_settings_but_not_on_names(tmp_path: Path) -> None:
    def plan_id(number: int, settings: PlanSettings, images: list[InputImage]) -> str:
        run = RunFolder(str(tmp_path / str(number)), create=True)
        return freeze_plan(run, settings, images).plan_id

    first = plan_id(0, SETTINGS, IMAGES)
    assert plan_id(1, replace(SETTINGS, model="./tiny.safetensors"), IMAGES) == first
    assert plan_id(2, replace(SETTINGS, model_sha256="c"), IMAGES) != first
    assert plan_id(3, SETTINGS, IMAGES[:4]) != first


def test_an_unfinished_plan_of_the_same_images_is_completed(run: RunFolder, tmp_path: Path) -> None:
    plan = freeze_plan(run, SETTINGS, IMAGES)
    (tmp_path / "run/_plan/plan.json").unlink()
    assert freeze_plan(run, SETTINGS, IMAGES) == plan


def test_an_unfinished_plan_of_other_images_is_refused(run: RunFolder, tmp_path: Path) -> None:
    freeze_plan(run, SETTINGS, IMAGES)
    (tmp_path / "run/_plan/plan.json").unlink()
    with pytest.raises(ConfigError, match="lists other images"):
        freeze_plan(run, SETTINGS, IMAGES[1:])


def test_other_settings_are_refused_with_every_difference(run: RunFolder) -> None:
    plan = freeze_plan(run, SETTINGS, IMAGES)
    refuse_other_settings(run, plan, replace(SETTINGS, model="same weights, other name"))
    other = replace(SETTINGS, shard_size=3, vocabulary="tools", vocabulary_sha256="cccccccccc")
    with pytest.raises(ConfigError) as caught:
        refuse_other_settings(run, plan, other)
    message = str(caught.value)
    assert "vocabulary toys (bbbbbbbb) -> tools (cccccccc)" in message
    assert "shard_size 2 -> 3" in message
    assert "\n" not in message


def test_a_plan_of_an_unknown_form_is_refused(run: RunFolder) -> None:
    freeze_plan(run, SETTINGS, IMAGES)
    content = run.read_json("_plan/plan.json")
    del content["num_shards"]
    run.replace("_plan/plan.json", json.dumps(content).encode())
    with pytest.raises(ConfigError, match="num_shards"):
        load_plan(run)
