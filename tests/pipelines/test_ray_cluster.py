"""Settings of Ray Data in a process after a job."""

import logging

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
