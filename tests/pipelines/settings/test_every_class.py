"""Every settings class of the packages: the description of each field, and the refused values."""

import dataclasses
import importlib
import math
import pkgutil
from collections.abc import Iterator
from typing import Any, get_type_hints

import jaxtyping
import pytest

import pipelines
import possam_core
from possam_core.errors import ConfigError
from possam_core.settings import Setting, choices_of, settings_of, types_of

SCENES = {"source": "playground", "num_scenes": 1}
NEEDED: dict[str, dict[str, Any]] = {  # by class, the settings without a default
    "CalibrateConfig": {"model": "m", "output": "x.safetensors"},
    "DataConfig": SCENES,
    "EvaluateConfig": {"model": "m"},
    "ExpectedPqConfig": {
        "intercept": 0.0,
        "of_segments": 1.0,
        "of_coverage": 1.0,
        "of_few": 1.0,
        "usual_coverage": 1.0,
        "usual_score": 1.0,
        "usual_predicted_iou": 1.0,
    },
    "EvaluateRunConfig": {"run": "r", "ground_truth": "g.json"},
    "ExportConfig": {"run": "r", "output": "o"},
    "LabelConfig": {"images": "i", "output": "o"},
    "LoopConfig": {"num_steps": 1},
    "NetworkConfig": {"checkpoint": "possam-tiny"},
    "TrainConfig": {"output": "o"},
}
MAY_BE_ZERO = {  # whole numbers that neither divide nor size anything
    "global_attn_indexes",
    "gpus_per_worker",
    "max_restarts",
    "num_examples",
    "num_worst",
    "scene_seed",
    "seed",
    "warmup_steps",
    "window_size",
}


def settings_classes() -> list[type]:
    """Every dataclass of the packages that has a setting, or is named as one of settings."""
    found = set()
    for package in (possam_core, pipelines):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for value in vars(importlib.import_module(module.name)).values():
                if (
                    isinstance(value, type)
                    and dataclasses.is_dataclass(value)
                    and value.__module__.startswith(package.__name__)
                    and (value.__name__.endswith("Config") or has_setting(value))
                ):
                    found.add(value)
    return sorted(found, key=lambda cls: cls.__name__)


def has_setting(cls: type) -> bool:
    """Whether a field is annotated with one."""
    annotations = getattr(cls, "__annotations__", {}).values()
    return any(isinstance(m, Setting) for a in annotations for m in getattr(a, "__metadata__", ()))


CLASSES = settings_classes()
FIELDS = [
    pytest.param(cls, name, setting, id=f"{cls.__name__}.{name}")
    for cls in CLASSES
    for name, setting in settings_of(cls).items()
]


def make(cls: type, **changes: object) -> object:
    """A valid instance of `cls`, except for `changes`."""
    given = dict(NEEDED.get(cls.__name__, {}))
    for name, kind in get_type_hints(cls).items():
        has_default = any(
            f.name == name and (f.default, f.default_factory) != (dataclasses.MISSING,) * 2
            for f in dataclasses.fields(cls)
        )
        if dataclasses.is_dataclass(kind) and not has_default:
            given[name] = make(kind)  # type: ignore[arg-type]
        elif name == "format":
            given[name] = kind("coco-panoptic")
    return cls(**given | changes)


def out_of_bounds(kind: Any, setting: Setting) -> Iterator[float]:
    """Values just beyond each bound, and non-finite ones."""
    step = 1 if "int" in str(kind) else 1e-6
    bounds = ((setting.ge, -step), (setting.gt, 0), (setting.le, step), (setting.lt, 0))
    yield from (bound + beyond for bound, beyond in bounds if bound is not None)
    yield math.nan
    if setting.finite:
        yield from (math.inf, -math.inf)


def test_the_classes_of_all_jobs_and_of_the_model_are_found() -> None:
    names = {cls.__name__ for cls in CLASSES}
    assert {"LabelConfig", "TrainConfig", "ExportConfig", "SamConfig", "Thresholds"} <= names
    assert set(NEEDED) <= names
    assert len(CLASSES) >= 20


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_field_says_what_it_is(cls: type) -> None:
    settings = settings_of(cls)
    assert [f.name for f in dataclasses.fields(cls)] == list(settings)
    for name, setting in settings.items():
        assert len(setting.help) > 5, name
        if dataclasses.MISSING is not (default := default_of(cls, name)):
            assert (default is None) == bool(setting.unset), f"{name}: what stands None for?"
            setting.check(default)
        setting.check(setting.example)


@pytest.mark.parametrize(("cls", "name", "setting"), FIELDS)
def test_a_number_beyond_its_bounds_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, cls: type, name: str, setting: Setting
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would object first
    kind = types_of(cls)[name]
    if not any(kind is number or str(kind).startswith("tuple[int") for number in (int, float)):
        return
    assert make(cls)
    is_whole = kind is not float
    assert not is_whole or setting.ge is not None, "a whole number needs a lower bound"
    for wrong in out_of_bounds(kind, setting):
        value = wrong if kind in (int, float) else (wrong,)
        with pytest.raises(ConfigError, match=f"{name} must be"):
            make(cls, **{name: value})
    if is_whole and name not in MAY_BE_ZERO:
        with pytest.raises(ConfigError, match=f"{name} must be"):
            make(cls, **{name: 0 if kind is int else (0,)})


@pytest.mark.parametrize(("cls", "name", "setting"), FIELDS)
def test_an_unknown_choice_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, cls: type, name: str, setting: Setting
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    if choices_of(types_of(cls)[name]):
        with pytest.raises(ConfigError, match=f"{name} must be .* got 'else'"):
            make(cls, **{name: "else"})


def default_of(cls: type, name: str) -> object:
    """The default of a field, or MISSING."""
    return next(f.default for f in dataclasses.fields(cls) if f.name == name)
