"""What the table of progress says, from a status worked out by hand."""

from datetime import UTC, datetime, timedelta

from flows.progress import Workforce, figures
from pipelines.monitor.pace import Pace
from pipelines.monitor.status import RoundStatus, RunStatus
from pipelines.settings.prices import PriceConfig

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def make_status(num_committed: int) -> RunStatus:
    """A run of 400 images in 4 shards, at 50 images/s."""
    corpus = RoundStatus(
        round=0,
        codes=(),
        num_images=400,
        num_shards=4,
        num_committed_images=100 * num_committed,
        num_committed_shards=num_committed,
        num_started_shards=0,
        suspects=(),
    )
    pace = Pace(
        first_commit=None,
        last_commit=None,
        images_per_s=40.0,
        images_per_s_now=50.0,
        seconds_left=2.0 * (4 - num_committed),
    )
    return RunStatus(
        location="/run",
        time=NOON,
        teacher=None,
        plan_id="p",
        state="running",
        rounds=(corpus,),
        num_bytes=2_500_000,
        expected_bytes=None,
        pace=pace,
        workers=(),
        root_hash=None,
    )


def test_progress_says_how_far_how_fast_how_long_and_what_it_has_cost() -> None:
    workforce = Workforce(
        num_workers=8, gpus_per_worker=0.5, prices=PriceConfig(currency="EUR", worker_hour=1.2)
    )
    assert figures(make_status(1), workforce, since=NOON - timedelta(minutes=15)) == {
        "state": "running",
        "shards": "1 of 4",
        "images": "100 of 400 (25.0%)",
        "images/s": "50.0",
        "time left": "0:00:06",
        "labels": "2.5 MB",
        "worker-hours": "2.00",
        "GPU-hours": "1.00",
        "cost so far": "2.40 EUR",
    }


def test_hours_are_not_guessed_where_the_cluster_decides_on_the_workers() -> None:
    unknown = Workforce(num_workers=None, gpus_per_worker=1)
    shown = figures(make_status(4), unknown, since=NOON)
    assert shown["time left"] == "0:00:00"
    assert not {"worker-hours", "GPU-hours", "cost so far"} & set(shown)
