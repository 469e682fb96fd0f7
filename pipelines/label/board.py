"""The actor through which workers and driver inform each other while a job runs."""

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

BUDGET_FROM = 1000  # images; the error share of fewer is too uncertain
MIN_OPEN_IN_A_ROW = 4  # shards; the cause of so many is not in the shards

Board = Any  # handle of a ProgressBoard actor; Ray's own type for it hides the methods


class ProgressBoard:
    """One actor for a job: workers report to it, the driver reads it, and it may stop the job."""

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
        """Note that a shard stays open; stop the job when too many in a row do."""
        self._open_in_a_row += 1
        if self._open_in_a_row >= self._max_open_in_a_row:
            self.stop(f"{self._open_in_a_row} shards in a row stayed open ({problem})")

    def num_images(self) -> int:
        """Images labelled since the job began."""
        return self._num_images

    def stop(self, reason: str) -> None:
        """Let workers finish their current shards, and take no other."""
        self._reason_to_stop = self._reason_to_stop or reason

    def reason_to_stop(self) -> str:
        """Why a worker may not take another shard; empty if it may."""
        return self._reason_to_stop


def start_board(error_budget: float = 1.0, num_workers: int = 1) -> Board:
    """A new board on the current cluster, which takes no CPU from the workers."""
    # On the driver's node: it must not be lost with a node that has only workers.
    node = ray.get_runtime_context().get_node_id()
    here = NodeAffinitySchedulingStrategy(node, soft=False)
    board = ray.remote(num_cpus=0)(ProgressBoard).options(scheduling_strategy=here)
    return board.remote(error_budget, num_workers)
