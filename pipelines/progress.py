"""What workers and driver tell each other while a job runs, and how the user sees it."""

import time
from datetime import timedelta
from typing import Any

import ray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

LINE_EVERY_S = 5.0  # between lines where no bar can be drawn


Board = Any  # handle of a ProgressBoard actor; Ray's own type for it hides the methods


class ProgressBoard:
    """One actor for a job: workers report images, the driver reads the sum and may call a halt."""

    def __init__(self) -> None:
        self._done: dict[int, int] = {}
        self._is_stopping = False

    def report(self, shard: int, num_images: int) -> None:
        """Note how far a shard has come; an attempt that starts again counts from zero."""
        self._done[shard] = num_images

    def num_images(self) -> int:
        """Images labelled since the job began."""
        return sum(self._done.values())

    def stop(self) -> None:
        """Let workers finish the shards they hold, and take no other."""
        self._is_stopping = True

    def may_start(self) -> bool:
        """Whether a worker may take another shard."""
        return not self._is_stopping


def start_board() -> Board:
    """A new board on the current cluster, which takes no CPU from the workers."""
    return ray.remote(num_cpus=0)(ProgressBoard).remote()


class ProgressDisplay:
    """A bar on a terminal, a line now and then elsewhere: images, images/s, time left."""

    def __init__(self, console: Console, *, total: int, done_before: int) -> None:
        self._console = console
        self._total = total
        self._done_before = done_before
        self._num_first = 0
        self.first_images_at = self._last_line = time.monotonic()
        self._progress = Progress(
            TextColumn("labelling"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=total, completed=done_before, note="")

    def __enter__(self) -> "ProgressDisplay":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, num_images: int) -> None:
        """Tell the user that this run has labelled `num_images` so far."""
        now = time.monotonic()
        if not self._num_first:  # the rate leaves out how long the model took to load
            self._num_first, self.first_images_at = num_images, now
        rate = (num_images - self._num_first) / max(now - self.first_images_at, 1e-9)
        done = min(self._done_before + num_images, self._total)
        note = f"{done:,} of {self._total:,} images"
        if rate:
            left = timedelta(seconds=round((self._total - done) / rate))
            note += f", {rate:.1f} images/s, {left} left"
        elif not num_images:
            note += ", loading the model"
        self._progress.update(self._task, completed=done, note=note)
        if not self._console.is_terminal and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            self._console.print(f"labelled {note}", soft_wrap=True, highlight=False)
