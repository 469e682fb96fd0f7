"""The speed of a run, from the times of its commits."""

from dataclasses import dataclass
from datetime import datetime

MIN_SPAN_S = 1.0  # stores report times in whole seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The speed by the times of the commits; None where there are too few of them."""

    first_commit: datetime | None
    last_commit: datetime | None
    images_per_s: float | None  # from first to last commit, pauses included
    images_per_s_now: float | None  # in the last ten minutes, while a process is at work
    seconds_left: float | None  # at `images_per_s_now`


@dataclass(slots=True)
class CommitTimes:
    """Sums over the committed files of all rounds."""

    since: datetime | None  # start of the recent commits; None: no process is at work
    num_images: int = 0
    num_recent_images: int = 0
    num_bytes: int = 0
    first: tuple[datetime, int] | None = None  # its time, and its number of images
    last: datetime | None = None

    def add(self, num_images: int, num_bytes: int, time: datetime) -> None:
        """Count one file."""
        self.num_images += num_images
        self.num_bytes += num_bytes
        if self.since is not None and time >= self.since:
            self.num_recent_images += num_images
        if self.first is None or time < self.first[0]:
            self.first = time, num_images
        self.last = time if self.last is None else max(self.last, time)

    def pace(self, now: datetime, *, num_images_left: int) -> Pace:
        """The speed of the commits, and the seconds that `num_images_left` more will take."""
        overall = current = None
        if self.first is not None and self.last is not None:
            span_s = (self.last - self.first[0]).total_seconds()
            if span_s >= MIN_SPAN_S:  # the first commit's images were labelled before the span
                overall = (self.num_images - self.first[1]) / span_s
        if self.since is not None and self.num_recent_images:
            span_s = max((now - self.since).total_seconds(), MIN_SPAN_S)
            current = self.num_recent_images / span_s
        return Pace(
            first_commit=None if self.first is None else self.first[0],
            last_commit=self.last,
            images_per_s=overall,
            images_per_s_now=current,
            seconds_left=None if current is None else num_images_left / current,
        )
