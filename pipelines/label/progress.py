"""How the user sees a job's progress: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn

from pipelines.bars import bars

LINE_EVERY_S = 5.0  # between lines where no bar can be drawn


@contextmanager
def planning_note(console: Console) -> Iterator[Callable[[int], None]]:
    """Where to tell how many images have been listed, so that the user sees it."""
    with console.status("listing images") as status:
        yield lambda num_listed: status.update(f"listed {num_listed:,} images")


class ProgressDisplay:
    """A bar on a terminal, a line now and then elsewhere: images, images/s, time left."""

    def __init__(self, console: Console, *, total: int, done_before: int) -> None:
        self._console = console
        self._total = total
        self._done_before = done_before
        self._num_first = 0
        self.first_images_at = self._last_line = time.monotonic()
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
