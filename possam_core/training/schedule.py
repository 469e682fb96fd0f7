"""The learning rate over the steps of a training."""

import math
from dataclasses import dataclass
from typing import Literal

from possam_core.errors import ConfigError

ScheduleKind = Literal["cosine", "step", "poly"]
COSINE_FLOOR = 0.01  # of the peak
DROP = 0.1  # of the rate before


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """The curve after warm-up."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    kind: ScheduleKind = "cosine"
    warmup_steps: int = 100  # linear, up to the peak
    drop_steps: tuple[int, ...] = ()  # step: from each of these on, a tenth of the rate before
    power: float = 0.9  # poly: of the share of steps that is left

    def __post_init__(self) -> None:
        if self.warmup_steps < 0:
            raise ConfigError(f"schedule.warmup_steps must be 0 or more, got {self.warmup_steps}")
        if (self.kind == "step") != bool(self.drop_steps):
            raise ConfigError(
                "schedule.drop_steps must name steps for the kind 'step' and for no other, got"
                f" {list(self.drop_steps)} for {self.kind!r}"
            )
        if self.power <= 0:
            raise ConfigError(f"schedule.power must be above 0, got {self.power}")


def learning_rate(step: int, *, peak: float, num_steps: int, schedule: ScheduleConfig) -> float:
    """The rate of step `step`, counted from 0.

    Cosine falls to one hundredth of the peak, poly to zero at `num_steps`.
    """
    warmup = schedule.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule.kind == "step":
        return peak * DROP ** sum(step >= drop for drop in schedule.drop_steps)
    progress = (step - warmup) / max(1, num_steps - warmup)
    if schedule.kind == "poly":
        return float(peak * (1 - progress) ** schedule.power)
    falling = 0.5 * (1 + math.cos(math.pi * progress))
    return peak * (COSINE_FLOOR + (1 - COSINE_FLOOR) * falling)
