"""How the user sees a job's progress: a bar on a terminal, a line now and then elsewhere."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn

from pipelines.bars import bars

PLANNING_LINE_AFTER_S = 1.0  # where no bar can be drawn; most mistakes are found before
LINE_EVERY_S = 5.0  # between lines where no bar can be drawn
SAME_LINE_EVERY_S = 60.0  # between those lines while no image is labelled


@contextmanager
def planning_note(console: Console) -> Iterator[Callable[[int], None]]:
    """A function that shows the number of images listed so far; in a log, one line says so."""
    line = threading.Timer(PLANNING_LINE_AFTER_S, console.print, args=("listing images",))
    line.daemon = True
    if not console.is_terminal:
        line.start()
    try:
        with console.status("listing images") as status:
            yield lambda num_listed: status.update(f"listed {num_listed:,} images")
    finally:
        line.cancel()


class LabellingRate:
    """Images labelled after the first ones, divided by the time after them.

    The time before them is mostly that of loading the model.
    """

    def __init__(self) -> None:
        self._first = self._last = 0, 0.0  # images labelled so far, and when
        self.has_begun = False

    def note(self, num_images: int, now: float) -> None:
        """Note that `num_images` have been labelled by the time `now`, in seconds."""
        self._last = num_images, now
        if num_images and not self.has_begun:
            self._first = self._last
            self.has_begun = True

    @property
    def first_images_at(self) -> float | None:
        """When the first images were labelled; None: no image has been."""
        return self._first[1] if self.has_begun else None

    @property
    def images_per_s(self) -> float | None:
        """None until images have been labelled after the first ones."""
        (first_images, began), (images, now) = self._first, self._last
        return (images - first_images) / (now - began) if images > first_images > 0 else None


class ProgressDisplay:
    """A bar on a terminal, a line now and then elsewhere: images, images/s, time left."""

    def __init__(self, console: Console, *, total: int, done_before: int, started: float) -> None:
        """Show how the images of a run are labelled.

        Args:
            console: to draw or print on.
            total: images of the run.
            done_before: images of the run labelled before this job.
            started: start of this job, in the seconds of `show`.
        """
        self._console = console
        self._total = total
        self._done_before = done_before
        self.rate = LabellingRate()
        self._done: tuple[int, float] = done_before, started  # and since when
        self._printed: tuple[int | None, float] = None, started  # as `_done`
        self._progress = bars(
            TextColumn("labelling"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._task = self._progress.add_task("", total=total, completed=done_before, note="")

    def __enter__(self) -> "ProgressDisplay":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def announce(self, stage: str, now: float) -> None:
        """Say at once what is being done, from `now` on, before the first image."""
        done = self._done[0]
        self._done = done, now
        note = f"{done:,} of {self._total:,} images, {stage}"
        self._progress.update(self._task, note=note, refresh=True)
        if not self._console.is_terminal:
            self._print(note)

    def show(self, num_images: int, now: float) -> None:
        """Show that this job has labelled `num_images` by the time `now`, in seconds."""
        self.rate.note(num_images, now)
        done = min(self._done_before + num_images, self._total)
        if done != self._done[0]:
            self._done = done, now
        note = f"{done:,} of {self._total:,} images{self._remark(now)}"
        self._progress.update(self._task, completed=done, note=note)
        if self._console.is_terminal:
            return
        printed, when = self._printed
        if now - when >= (SAME_LINE_EVERY_S if done == printed else LINE_EVERY_S):
            self._printed = done, now
            self._print(note)

    def _print(self, note: str) -> None:
        self._console.print(f"labelled {note}", soft_wrap=True, highlight=False)

    def _remark(self, now: float) -> str:
        """The speed, or for how long no image has been labelled."""
        done, since = self._done
        waited = _duration(now - since)
        if not self.rate.has_begun:
            return f", loading the model for {waited}"
        remark = ""
        if rate := self.rate.images_per_s:
            remark = f", {rate:.1f} images/s, {_duration((self._total - done) / rate)} left"
        if now - since >= SAME_LINE_EVERY_S:
            remark += f", no new ones for {waited}"
        return remark


def _duration(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))
