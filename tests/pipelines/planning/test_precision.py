"""Which number format a new plan freezes, and what a worker is made of where there are GPUs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.planning.prepare import prepare
from pipelines.settings.label import LabelConfig
from possam_core.arithmetic import Precision

ON_TWO_GPUS = """
import logging, ray
ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, logging_level=logging.ERROR)
from pipelines.label.workers import has_channels_last, is_compiled, with_workers
from pipelines.planning.precision import chosen_precision
from pipelines.settings.label import LabelConfig
asked = LabelConfig(images="images", output="run")
config = with_workers(asked, 10)
print(chosen_precision(asked, None), config.num_workers, config.gpus_per_worker)
print(is_compiled(config), has_channels_last(config))
on_cpus = LabelConfig(images="images", output="run", gpus_per_worker=0.0)
config = with_workers(on_cpus, 10)
print(chosen_precision(on_cpus, None), config.num_workers, config.gpus_per_worker)
print(is_compiled(config), has_channels_last(config))
"""


def config_of(images: Path, run: Path, **settings: object) -> LabelConfig:
    return LabelConfig(images=str(images), output=str(run), **settings)


@pytest.mark.parametrize(
    ("asked", "gpus", "frozen"),
    [
        (None, 0.0, "float32"),
        (None, 0.5, "bfloat16"),
        ("tf32", 0.5, "tf32"),
        ("bfloat16", 0.0, "bfloat16"),
    ],
)
def test_a_new_plan_has_bfloat16_on_gpus_unless_another_is_asked_for(
    one_image: Path, tmp_path: Path, asked: Precision | None, gpus: float, frozen: Precision
) -> None:
    config = config_of(one_image, tmp_path / "run", precision=asked, gpus_per_worker=gpus)
    assert prepare(config).plan.settings.precision == frozen


def test_a_plan_keeps_its_own_wherever_it_goes_on(one_image: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    planned = prepare(config_of(one_image, run, gpus_per_worker=1)).plan
    again = prepare(config_of(one_image, run, gpus_per_worker=0)).plan
    assert (again.plan_id, again.settings.precision) == (planned.plan_id, "bfloat16")


def test_where_a_cluster_has_gpus_each_worker_has_one_unless_told_otherwise() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    printed = subprocess.run(
        [sys.executable, "-c", ON_TWO_GPUS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.splitlines() == [
        "bfloat16 2 1.0",
        "True True",
        "float32 1 0.0",  # as many as CPUs but one
        "False False",
    ]
