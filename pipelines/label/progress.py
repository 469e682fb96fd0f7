"""What workers and driver tell each other while a job runs, and how the user sees it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn

from pipelines.bars import bars

LINE_EVERY_S = 5.0  # between lines where no bar can be drawn
BUDGET_FROM = 1000  # images, before which a share of errors says little
MIN_OPEN_IN_A_ROW = 4  # shards, after which the trouble is not theirs


Board = Any  # handle of a ProgressBoard actor; Ray's own type for it hides the methods


class ProgressBoard:
    """One actor for a job: workers report to it, the driver reads it, and it may call a halt."""

    def __init__(self, error_budget: float, num_workers: int) -> None:
        self._done: dict[int, tuple[int, int]] = {}
        self._num_images = self._num_errors = 0  # the sums over `_done`
        self._error_budget = error_budget
        self._open_in_a_row = 0
        self._max_open_in_a_row = max(MIN_OPEN_IN_A_ROW, 2 * num_workers)
        self._reason_to_stop = ""

    def report(self, shard: int, num_images: int, num_errors: int) -> None:
        """Note how far a shard has come; an attempt that starts again counts from zero."""
        images_before, errors_before = self._done.get(shard, (0, 0))
        self._done[shard] = num_images, num_errors
        self._num_images += num_images - images_before
        self._num_errors += num_errors - errors_before
        share = self._num_errors / max(1, self._num_images)
        if self._num_images >= BUDGET_FROM and share > self._error_budget:
            self.stop(
                f"{self._num_errors:,} of {self._num_images:,} images failed ({share:.1%}), which"
                f" is over the error budget of {self._error_budget:.1%}"
            )

    def note_commit(self) -> None:
        """Note that a shard has been committed."""
        self._open_in_a_row = 0

    def note_open(self, problem: str) -> None:
        """Note that a shard stays open; when shard after shard does, the job had better stop."""
        self._open_in_a_row += 1
        if self._open_in_a_row >= self._max_open_in_a_row:
            self.stop(f"{self._open_in_a_row} shards in a row stayed open ({problem})")

    def num_images(self) -> int:
        """Images labelled since the job began."""
        return self._num_images

    def stop(self, reason: str) -> None:
        """Let workers finish the shards they hold, and take no other."""
        self._reason_to_stop = self._reason_to_stop or reason

    def reason_to_stop(self) -> str:
        """Why a worker may not take another shard; empty if it may."""
        return self._reason_to_stop


def start_board(error_budget: float = 1.0, num_workers: int = 1) -> Board:
    """A new board on the current cluster, which takes no CPU from the workers."""
    # Beside the driver: it must not go with a node that only has workers.
    node = ray.get_runtime_context().get_node_id()
    here = NodeAffinitySchedulingStrategy(node, soft=False)
    board = ray.remote(num_cpus=0)(ProgressBoard).options(scheduling_strategy=here)
    return board.remote(error_budget, num_workers)


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
