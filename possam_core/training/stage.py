"""What the training loop is called with: a stage, its settings, and an observer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from possam_core.errors import ConfigError
from possam_core.training.schedule import ScheduleConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How long and how fast a stage learns."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    num_steps: int
    batch_size: int = 16  # images that a step learns from, of all workers together
    images_at_once: int | None = None  # of one worker; fewer than its share add up gradients
    learning_rate: float = 1e-3  # peak, after warm-up
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    weight_decay: float = 0.05  # zero on biases, norms and embeddings
    max_grad_norm: float = 1.0
    precision: Literal["float32", "bfloat16"] = "bfloat16"  # of the network; losses are float32
    log_every: int = 50
    save_every: int = 200
    evaluate_every: int = 500
    seed: int = 0  # of weights, batches and views

    def __post_init__(self) -> None:
        at_least_one = ("num_steps", "batch_size", "log_every", "save_every", "evaluate_every")
        wrong = [
            f"loop.{name} must be at least 1, got {getattr(self, name)}"
            for name in at_least_one
            if getattr(self, name) < 1
        ]
        if self.images_at_once is not None and self.images_at_once < 1:
            wrong.append(f"loop.images_at_once must be at least 1, got {self.images_at_once}")
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                wrong.append(f"loop.{name} must be above 0, got {getattr(self, name)}")
        for name in ("weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                wrong.append(f"loop.{name} must be 0 or more, got {getattr(self, name)}")
        if wrong:
            raise ConfigError("; ".join(wrong))


@dataclass(frozen=True, slots=True)
class StepResult:
    """The loss and metrics of a step, or of a part of it; the parts of a step add up."""

    loss: Tensor
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures on held-out images, and examples for an observer to show."""

    figures: Mapping[str, float]
    examples: Sequence[object] = ()


@runtime_checkable
class Observer(Protocol):
    """Receives the figures and examples of the first worker."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Figures after `step` steps."""

    def examples(self, step: int, examples: Sequence[object]) -> None:
        """The `Evaluation.examples` after `step` steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One kind of training, for the loop to run."""

    name: str  # of its files, and in the log
    module: nn.Module
    learn: Callable[[int], Iterable[StepResult]]  # the parts of a step, computed one by one
    evaluate: Callable[[], Evaluation] | None = None
    best_by: str | None = None  # figure whose highest value marks the best checkpoint
    checkpoint: Callable[[int, Mapping[str, float]], bytes] | None = None  # at a step, with figures
    batch_of: Callable[[int], object] | None = None  # this worker's part of a step, for inspection


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopReport:
    """The result of a call of `train_stage`."""

    num_steps: int  # done, in all
    num_new: int  # of those, by this call
    loss: float | None  # of the last step; None if nothing was left to do
    best: Mapping[str, float]  # figures of the best checkpoint
    num_skipped: int  # steps that were skipped, in all
