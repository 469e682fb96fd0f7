"""Timing of benchmarks: both sides alternate in one process, and the least time counts."""

import time
from collections.abc import Callable

REPEATS = 5


def least_seconds(*functions: Callable[[], object]) -> list[float]:
    """The least time of each function, run in alternation."""
    best = [float("inf")] * len(functions)
    for _ in range(REPEATS):
        for i, function in enumerate(functions):
            started = time.perf_counter()
            function()
            best[i] = min(best[i], time.perf_counter() - started)
    return best
