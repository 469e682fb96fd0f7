"""What the training loop is called with: a stage, its settings, and an observer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from possam_core.settings import Setting, require_valid
from possam_core.training.schedule import ScheduleConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How long and how fast a stage learns."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    num_steps: Annotated[int, Setting("steps in all", ge=1, example=368750)]
    batch_size: Annotated[
        int, Setting("images that a step learns from, of all workers together", ge=1, le=1_000_000)
    ] = 16
    images_at_once: Annotated[
        int | None,
        Setting(
            "images that a worker holds at once; fewer than its share add up gradients",
            ge=1,
            unset="its share",
        ),
    ] = None
    learning_rate: Annotated[float, Setting("peak of the rate, after warm-up", gt=0, le=100)] = 1e-3
    schedule: Annotated[ScheduleConfig, Setting("how the rate runs over the steps")] = field(
        default_factory=ScheduleConfig
    )
    weight_decay: Annotated[
        float, Setting("decay of weights; none on biases, norms and embeddings", ge=0, le=100)
    ] = 0.05
    max_grad_norm: Annotated[float, Setting("longer gradients are cut to this norm", gt=0)] = 1.0
    precision: Annotated[
        Literal["float32", "bfloat16"],
        Setting("number format of the network; matching and losses are float32"),
    ] = "bfloat16"
    log_every: Annotated[int, Setting("steps between lines of the log", ge=1)] = 50
    save_every: Annotated[int, Setting("steps between saved states", ge=1)] = 200
    evaluate_every: Annotated[int, Setting("steps between measurements", ge=1)] = 500
    seed: Annotated[int, Setting("of weights, batches and views", ge=0)] = 0

    def __post_init__(self) -> None:
        require_valid(self, prefix="loop.")


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
