"""Shows the progress of a run while it is labelled, from listings of its commits alone."""

import contextvars
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from pipelines.monitor.status import RunStatus, read_status
from pipelines.redaction import without_secrets
from pipelines.settings.prices import PriceConfig

EVERY_S = 4.0  # at first, and later more rarely: Prefect keeps an event of each update
MAX_EVERY_S = 30.0
NUM_UPDATES = 100  # of long runs: the pause is this part of the time so far
LISTING_SHARE = 0.1  # of the time at most goes into listings, which take long for a large run
LOG_EVERY_S = 60.0
GIVE_UP_AFTER_S = 10.0  # on the last update, when the run has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Workforce:
    """How many workers label, with how many GPUs, at which prices."""

    num_workers: int | None  # None: the cluster decides, so hours cannot be counted
    gpus_per_worker: float
    prices: PriceConfig = field(default_factory=PriceConfig)


@contextmanager
def progress_artifacts(location: str, *, key: str, workforce: Workforce) -> Iterator[None]:
    """Keep the artifacts `<key>` and `<key>-figures` of a planned run up to date, while inside.

    An error of the store or of Prefect is logged and costs one update.
    """
    artifacts = _ProgressArtifacts(location=location, key=key, workforce=workforce)
    has_ended = threading.Event()
    context = contextvars.copy_context()  # Prefect finds its settings and this run there
    thread = threading.Thread(target=context.run, args=(artifacts.follow, has_ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join(GIVE_UP_AFTER_S)


def figures(status: RunStatus, workforce: Workforce, since: datetime) -> dict[str, str]:
    """The rows of the table by name.

    Args:
        status: of the run.
        workforce: that labels it.
        since: the time from which hours count.
    """
    shards = sum(r.num_shards for r in status.rounds)
    done_shards = sum(r.num_committed_shards for r in status.rounds)
    images = sum(r.num_images for r in status.rounds)
    done = sum(r.num_committed_images for r in status.rounds)
    pace = status.pace
    rows = {
        "state": status.state,
        "shards": f"{done_shards:,} of {shards:,}",
        "images": f"{done:,} of {images:,} ({status.share_committed:.1%})",
        "images/s": _rate(pace.images_per_s_now or pace.images_per_s),
        "time left": _duration(0.0 if done == images else pace.seconds_left),
        "labels": f"{status.num_bytes / 1e6:,.1f} MB",
    }
    if workforce.num_workers is not None:
        hours = (status.time - since).total_seconds() / 3600 * workforce.num_workers
        rows["worker-hours"] = f"{hours:.2f}"
        if workforce.gpus_per_worker:
            rows["GPU-hours"] = f"{hours * workforce.gpus_per_worker:.2f}"
        if workforce.prices.worker_hour:
            cost = hours * workforce.prices.worker_hour
            rows["cost so far"] = f"{cost:.2f} {workforce.prices.currency}"
    return rows


@dataclass(slots=True, kw_only=True)
class _ProgressArtifacts:
    """Reads the status of a run again and again, and updates its artifacts."""

    location: str
    key: str
    workforce: Workforce
    artifacts: tuple[UUID, UUID] | None = None  # the bar, the table
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    last_log: float = field(default_factory=time.monotonic)

    def follow(self, has_ended: threading.Event) -> None:
        """Update until the run has ended, and once more after that."""
        is_last = False
        started = time.monotonic()
        while True:
            began = time.monotonic()
            try:
                self.update(read_status(self.location))
            except Exception as error:
                # The run does not depend on its progress being shown.
                message = without_secrets(f"{type(error).__name__}: {error}")
                get_run_logger().warning("progress cannot be shown: %s", message)
            if is_last:
                return
            now = time.monotonic()
            pause = min(max(EVERY_S, (now - started) / NUM_UPDATES), MAX_EVERY_S)
            is_last = has_ended.wait(max(pause, (now - began) / LISTING_SHARE))

    def update(self, status: RunStatus) -> None:
        """Update the artifacts, and once a minute the log."""
        self.since = min([self.since, *(w.started for w in status.workers if w.is_at_work)])
        rows = figures(status, self.workforce, self.since)
        percent = 100 * status.share_committed
        table = [{"figure": name, "value": value} for name, value in rows.items()]
        if self.artifacts is None:
            where = without_secrets(self.location)
            bar = create_progress_artifact(percent, key=self.key, description=where)
            figures_table = create_table_artifact(
                table, key=f"{self.key}-figures", description=where
            )
            assert isinstance(bar, UUID) and isinstance(figures_table, UUID)  # noqa: PT018
            self.artifacts = bar, figures_table
        else:
            bar, figures_table = self.artifacts
            update_progress_artifact(bar, percent)
            with get_client(sync_client=True) as client:
                client.update_artifact(figures_table, ArtifactUpdate(data=json.dumps(table)))
        if time.monotonic() - self.last_log >= LOG_EVERY_S:
            self.last_log = time.monotonic()
            line = f"{rows['images']} images, {rows['images/s']}, {rows['time left']} left"
            get_run_logger().info(line)


def _rate(images_per_s: float | None) -> str:
    return "-" if images_per_s is None else f"{images_per_s:.1f}"


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else str(timedelta(seconds=round(seconds)))
