"""Settings of Ray Data in a process after a job."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray.data import DataContext

from pipelines.ray_cluster import ray_cluster


@pytest.mark.usefixtures("ray_cluster")
def test_after_a_job_ray_data_shows_and_logs_as_before_even_when_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, log = DataContext.get_current(), logging.getLogger("ray.data")
    monkeypatch.setattr(context, "enable_progress_bars", True)
    monkeypatch.setattr(context, "print_on_execution_start", True)
    level = log.level
    with pytest.raises(ZeroDivisionError), ray_cluster(1):
        _ = 1 / (context.enable_progress_bars + (log.level != logging.CRITICAL))
    assert context.enable_progress_bars
    assert context.print_on_execution_start
    assert log.level == level


def test_a_ray_that_cannot_start_is_reported_in_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)  # longer than the address of a socket may be
    folder.mkdir()
    program = (
        "from pipelines.ray_cluster import ray_cluster\n"
        "from possam_core.errors import PossamError\n"
        "try:\n"
        "    with ray_cluster(1): print('started')\n"
        "except PossamError as error:\n"
        "    print(error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"RAY_TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.count("\n") == 1
    assert printed.startswith("expected Ray to start, but it did not (")
    assert "AF_UNIX path length" in printed
    assert printed.endswith("run the same command again\n")


def test_a_ray_of_one_machine_starts_only_what_it_needs() -> None:
    program = (
        "import psutil\n"
        "from pipelines.ray_cluster import ray_cluster\n"
        "with ray_cluster(1): print(*(p.name() for p in psutil.Process().children()))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert sorted(printed.split()) == ["gcs_server", "raylet"]  # no monitor, no web server
