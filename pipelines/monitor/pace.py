"""The speed of a run, from the times of its commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

MIN_SPAN_S = 1.0  # stores report times in whole seconds
RECENT = timedelta(minutes=10)  # the time of `images_per_s_now`


@dataclass(frozen=True, slots=True)
class Period:
    """From when to when a process was at work."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkTimes:
    """When processes were at work on a run, as far as they have recorded it."""

    periods: Sequence[Period]
    is_going_on: bool  # whether one is at work now

    def recent(self, now: datetime) -> Period | None:
        """The part of the last ten minutes from the first work to the last; None: there was none.

        While a process is at work, it ends now.
        """
        periods = [period for period in self.periods if period.end >= now - RECENT]
        if not periods:
            return None
        start = max(now - RECENT, min(period.start for period in periods))
        return Period(start, now if self.is_going_on else max(p.end for p in periods))

    def seconds_in(self, span: Period) -> float:
        """The seconds of `span` without the pauses, in which no process was at work."""
        idle_s, busy_until = 0.0, None
        for period in sorted(self.periods, key=lambda p: p.start):
            if busy_until is not None and period.start > busy_until:
                pause = min(period.start, span.end) - max(busy_until, span.start)
                idle_s += max(0.0, pause.total_seconds())
            busy_until = period.end if busy_until is None else max(busy_until, period.end)
        return (span.end - span.start).total_seconds() - idle_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The speed by the times of the commits; None where there are too few of them."""

    first_commit: datetime | None
    last_commit: datetime | None
    images_per_s: float | None  # from first to last commit, without pauses
    images_per_s_now: float | None  # in the last ten minutes, without pauses
    seconds_left: float | None  # at `images_per_s_now`, while a process is at work


@dataclass(slots=True)
class CommitTimes:
    """Sums over the committed files of all rounds."""

    recent: Period | None  # commits in it are recent ones; None: none are
    num_images: int = 0
    num_recent_images: int = 0
    num_bytes: int = 0
    first: tuple[datetime, int] | None = None  # its time, and its number of images
    last: datetime | None = None

    def add(self, num_images: int, num_bytes: int, time: datetime) -> None:
        """Count one file."""
        self.num_images += num_images
        self.num_bytes += num_bytes
        if self.recent is not None and time >= self.recent.start:
            self.num_recent_images += num_images
        if self.first is None or time < self.first[0]:
            self.first = time, num_images
        self.last = time if self.last is None else max(self.last, time)

    def pace(self, work: WorkTimes, *, num_images_left: int) -> Pace:
        """The speed of the commits, and the seconds that `num_images_left` more will take."""
        overall = current = None
        if self.first is not None and self.last is not None:
            span_s = work.seconds_in(Period(self.first[0], self.last))
            if span_s >= MIN_SPAN_S:  # the first commit's images were labelled before the span
                overall = (self.num_images - self.first[1]) / span_s
        if self.recent is not None and self.num_recent_images:
            current = self.num_recent_images / max(work.seconds_in(self.recent), MIN_SPAN_S)
        return Pace(
            first_commit=None if self.first is None else self.first[0],
            last_commit=self.last,
            images_per_s=overall,
            images_per_s_now=current,
            seconds_left=num_images_left / current if current and work.is_going_on else None,
        )
