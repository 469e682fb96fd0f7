"""The time that a worker spends in each stage, and which stage limits a run."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, get_args

Stage = Literal["fetch", "decode", "model", "encode", "write"]
STAGES: tuple[Stage, ...] = get_args(Stage)

BOUND_FROM = 0.5  # share of the time from which a stage is called the bottleneck
TELLING_IMAGES = 32  # fewer say more of the first call of everything than of the rest

REMEDIES: Mapping[Stage, str] = {
    "fetch": "bring the workers closer to the images, pack small images into tar shards, or use"
    " more workers",
    "decode": "use more workers, or smaller images",
    "model": "use more workers, a GPU for each, or a smaller model",
    "encode": "use more workers, or a vocabulary and thresholds that give fewer segments",
    "write": "write to a store that is closer, or use larger shards",
}


class StageClock:
    """Seconds for which the one thread that drives a worker was held up by each stage.

    Stages that run ahead in threads of their own count only while that thread waits for them, so
    the sum is at most the time that has passed.
    """

    def __init__(self) -> None:
        self.seconds: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def held_up_by(self, stage: Stage) -> Iterator[None]:
        """Add the time inside to `stage`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - started


def bottleneck(seconds: Mapping[Stage, float], *, num_images: int) -> str:
    """A sentence: what a run waited for and what would help; empty if it was too short to say."""
    total = sum(seconds.values())
    if not total or num_images < TELLING_IMAGES:
        return ""
    stage = max(STAGES, key=lambda s: seconds[s])
    share = seconds[stage] / total
    shares = ", ".join(f"{s} {seconds[s] / total:.0%}" for s in STAGES)
    if share < BOUND_FROM:
        return f"no stage stands out ({shares})"
    return f"bound by {stage} ({shares}); to go faster, {REMEDIES[stage]}"
