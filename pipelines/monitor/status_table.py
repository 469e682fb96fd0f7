"""The text that `possam status` prints."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.monitor.status import RoundStatus, RunStatus
from pipelines.run.folder import data_folder

MAX_SHOWN = 10  # of a list; JSON has all of it
NOTHING = "-"


def status_table(status: RunStatus) -> RenderableType:
    """A table of figures, then a line for each alarm."""
    headline = Text(f"{status.location} is {status.state}")
    table = Table("", "", show_header=False)
    for name, value in _lines(status):
        table.add_row(name, Text(value, overflow="fold"))
    return Group(headline, table, *(Text(alarm) for alarm in alarms(status)))


def alarms(status: RunStatus) -> list[str]:
    """One line for each problem that needs an operator; docs/operations.md explains each."""
    found = [
        f"{worker.host} (process {worker.pid}) is silent for {_span(status, worker.last_seen)}"
        for worker in status.workers
        if not worker.is_at_work and status.state in ("running", "interrupted")
    ][:MAX_SHOWN]
    for r in status.rounds:
        if r.suspects:
            shards = _shortened(list(map(str, r.suspects)))
            found.append(f"shards with three attempts or more in {data_folder(r.round)}: {shards}")
    if status.state == "interrupted":
        found.append("no process is at work; run the same command again to label what is left")
    if status.state == "complete" and not _at_work(status):
        found.append("the manifest is not written; run the same command again to write it")
    return found


def _lines(status: RunStatus) -> Iterator[tuple[str, str]]:
    yield "plan", status.plan_id
    if status.teacher is not None:
        yield "teacher", status.teacher.text
    for r in status.rounds:
        yield from _round_lines(r)
    expected = status.expected_bytes
    yield (
        "labels",
        f"{status.num_bytes / 1e6:,.1f} MB"
        + ("" if expected is None else f", about {expected / 1e6:,.1f} MB when all is committed"),
    )
    pace = status.pace
    yield "first commit", _time(pace.first_commit)
    yield "last commit", _time(pace.last_commit)
    yield "images/s from first to last", _number(pace.images_per_s)
    yield "images/s in the last 10 minutes", _number(pace.images_per_s_now)
    left = pace.seconds_left
    yield "time left", NOTHING if left is None else str(timedelta(seconds=round(left)))
    yield "at work", _shortened(_at_work(status)) or "no process"
    yield "root hash", status.root_hash or NOTHING


def _round_lines(r: RoundStatus) -> Iterator[tuple[str, str]]:
    name = f"retry {r.round}" if r.round else "corpus"
    if r.codes:
        yield f"{name}, of", ", ".join(r.codes)
    share = r.num_committed_images / r.num_images
    yield f"{name}, images", f"{r.num_committed_images:,} of {r.num_images:,} ({share:.1%})"
    started = f", {r.num_started_shards:,} more started" if r.num_started_shards else ""
    yield f"{name}, shards", f"{r.num_committed_shards:,} of {r.num_shards:,} committed{started}"


def _at_work(status: RunStatus) -> list[str]:
    return [f"{w.host} (process {w.pid})" for w in status.workers if w.is_at_work]


def _shortened(items: list[str]) -> str:
    more = len(items) - MAX_SHOWN
    return ", ".join(items[:MAX_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _span(status: RunStatus, since: datetime) -> str:
    minutes = round((status.time - since).total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def _time(time: datetime | None) -> str:
    return NOTHING if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.1f}"
