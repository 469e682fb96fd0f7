"""Timing of benchmarks: both sides alternate in one process, and the least time counts."""

import time
from collections.abc import Callable

REPEATS = 5


def least_seconds(
    *functions: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """The least time of each function by `clock`, run in alternation."""
    best = [float("inf")] * len(functions)
    for _ in range(REPEATS):
        for i, function in enumerate(functions):
            started = clock()
            function()
            best[i] = min(best[i], clock() - started)
    return best
