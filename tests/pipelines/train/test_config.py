from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.settings.load import load_config
from pipelines.train.config import CHANGEABLE, TrainConfig, learned_from
from pipelines.train.folder import open_output, require_same_settings, write_settings
from possam_core.errors import ConfigError
from possam_core.training.stage import LoopConfig

RECIPES = sorted((Path(__file__).parents[3] / "configs").glob("train.*.yaml"))

SETTINGS: Mapping[str, Any] = {
    "output": "/data/run",
    "network": {"checkpoint": "possam-tiny"},
    "data": {"source": "playground", "num_scenes": 5},
    "validation": {"source": "playground", "num_scenes": 2},
    "loop": {"num_steps": 4},
}


def load(folder: Path, **changes: object) -> TrainConfig:
    file = folder / "train.yaml"
    file.write_text(yaml.safe_dump({**SETTINGS, **changes}))
    return load_config(TrainConfig, file, {})


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid(recipe: Path) -> None:
    assert load_config(TrainConfig, recipe, {}).loop.num_steps > 0


def test_there_are_recipes_for_coco_ade20k_and_the_playground() -> None:
    assert [r.name for r in RECIPES] == [
        "train.ade20k.yaml",
        "train.coco.yaml",
        "train.playground.yaml",
    ]


def test_every_mistake_is_named_at_once_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            tmp_path,
            loop={"num_step": 4, "learning_rate": "fast", "schedule": {"kind": "linear"}},
            augment={"min_scale": 30},
            los={"dice": 5},
        )
    message = str(caught.value)
    for part in (
        "loop.num_step; did you mean 'num_steps'?",
        "expected loop.num_steps in",
        "expected loop.learning_rate",
        "expected loop.schedule.kind",
        "augment.min_scale in",
        "got los; did you mean 'loss'?",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_workers": 3, "loop": {"num_steps": 1}}, "multiple of num_workers 3, got 16"),
        ({"num_workers": 0}, "num_workers in .* must be at least 1"),
        ({"feature_cache": "c"}, "feature_cache needs views that come again"),
        ({"data": {"source": "playground"}}, "num_scenes must be named"),
        (
            {"data": {"source": "coco-panoptic", "num_scenes": 3}},
            "vocabulary must be named.*images must be named.*annotations.*num_scenes must be left",
        ),
        (
            {"data": {"source": "playground", "num_scenes": 0, "limit": 0}},
            "data.limit in .* must be at least 1, got 0.*data.num_scenes .* must be 1 to .*, got 0",
        ),
        (
            {"data": {"source": "playground", "images": "x"}},
            "images must be left out.*num_scenes must be named",
        ),
        (
            {"data": {"source": "coco-panoptic", "world": "workshop"}},
            "vocabulary must be named.*world must be left out for the source 'coco-panoptic'",
        ),
        ({"data": {"source": "playground", "world": "workshp", "num_scenes": 2}}, "workshp"),
        ({"output": "ftp://x"}, "expected a local path or an s3:// address"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    tmp_path: Path, changes: Mapping[str, object], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(tmp_path, **changes)


def test_a_training_is_resumed_only_with_its_own_settings(tmp_path: Path) -> None:
    config = load(tmp_path, output=str(tmp_path / "run"))
    folder = open_output(config.output)
    require_same_settings(folder, config)
    write_settings(folder, config)
    require_same_settings(folder, config)
    elsewhere = replace(
        config, num_workers=2, gpus_per_worker=1, loop=replace(config.loop, log_every=1)
    )
    require_same_settings(folder, elsewhere)
    other = replace(config, loop=LoopConfig(num_steps=9, seed=3))
    with pytest.raises(
        ConfigError, match=r"loop\.num_steps is 4 there and 9 here, loop\.seed is 0 there and 3"
    ):
        require_same_settings(folder, other)


def test_the_settings_that_may_change_exist(tmp_path: Path) -> None:
    config = load(tmp_path)
    for name in CHANGEABLE:
        owner, _, field = name.rpartition(".")
        assert hasattr(getattr(config, owner) if owner else config, field)
        assert name not in learned_from(config)


def test_the_former_name_of_the_gpus_is_refused_with_the_existing_names(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"got use_gpu; .*gpus_per_worker"):
        load(tmp_path, use_gpu=True)
