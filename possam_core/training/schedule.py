"""The learning rate over the steps of a training."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from possam_core.settings import Setting, require_valid

ScheduleKind = Literal["cosine", "step", "poly"]
COSINE_FLOOR = 0.01  # of the peak
DROP = 0.1  # of the rate before


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """The curve after warm-up."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    kind: Annotated[ScheduleKind, Setting("how the rate falls after warm-up")] = "cosine"
    warmup_steps: Annotated[int, Setting("steps that rise linearly to the peak", ge=0)] = 100
    drop_steps: Annotated[
        tuple[int, ...],
        Setting("step: from each of these on, a tenth of the rate before", ge=1, example=[9000]),
    ] = ()
    power: Annotated[float, Setting("poly: exponent of the share of steps left", gt=0)] = 0.9

    def __post_init__(self) -> None:
        wrong = ""
        if (self.kind == "step") != bool(self.drop_steps):
            wrong = (
                "loop.schedule.drop_steps must name steps for the kind 'step' and for no other, got"
                f" {list(self.drop_steps)} for {self.kind!r}"
            )
        require_valid(self, wrong, prefix="loop.schedule.")


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
