"""One training loop for every stage: optimiser, schedule, progress, and resuming."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from possam_core.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig:
    """How long and how fast one stage learns."""

    name: str
    num_steps: int
    batch_size: int = 16
    learning_rate: float = 1e-3  # peak, after warm-up
    warmup_steps: int = 100
    weight_decay: float = 0.05  # zero on biases, norms and embeddings
    max_grad_norm: float = 1.0
    log_every: int = 50
    save_every: int = 200
    evaluate_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_steps < 1 or self.batch_size < 1:
            raise ConfigError(
                f"stage {self.name!r} needs at least one step and one image a batch, got"
                f" {self.num_steps} and {self.batch_size}"
            )


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step learned from; `metrics` are logged as their running means."""

    loss: Tensor
    metrics: dict[str, float]


def train_stage(
    module: nn.Module,
    config: StageConfig,
    folder: Path,
    *,
    step: Callable[[int, np.random.Generator], StepResult],
    evaluate: Callable[[], dict[str, float]] | None = None,
) -> None:
    """Train `module`'s trainable parameters for `num_steps`; resumes from `folder` if it can.

    Batches depend on the seed and the step's number alone, so a resumed run sees the same ones.
    """
    optimizer = _optimizer(module, config)
    state_file = folder / f"{config.name}.state.pt"
    first = _resume(module, optimizer, state_file)
    seen: list[dict[str, float]] = []
    started = time.monotonic()
    for index in range(first, config.num_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(index, config)
        result = step(index, np.random.default_rng((config.seed, index)))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(result.loss)
        nn.utils.clip_grad_norm_(module.parameters(), config.max_grad_norm)
        optimizer.step()
        seen.append({"loss": float(result.loss.detach()), **result.metrics})
        done = index + 1
        if done % config.log_every == 0 or done == config.num_steps:
            _log_progress(config, done, seen, (done - first) / (time.monotonic() - started))
            seen.clear()
        if done % config.save_every == 0 or done == config.num_steps:
            _save(module, optimizer, state_file, done)
        if evaluate and (done % config.evaluate_every == 0 or done == config.num_steps):
            module.eval()
            figures = "  ".join(f"{k} {v:.3f}" for k, v in evaluate().items())
            module.train()
            logger.info("%s step %d held-out: %s", config.name, done, figures)


def learning_rate(step: int, config: StageConfig) -> float:
    """Linear warm-up to the peak, then a cosine down to one hundredth of it."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.num_steps - config.warmup_steps)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def _optimizer(module: nn.Module, config: StageConfig) -> torch.optim.AdamW:
    trainable = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    plain = [p for n, p in trainable if p.ndim < 2 or "embed" in n or "query" in n]
    kept = {id(p) for p in plain}
    decayed = [p for _, p in trainable if id(p) not in kept]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _resume(module: nn.Module, optimizer: torch.optim.Optimizer, state_file: Path) -> int:
    if not state_file.exists():
        return 0
    state = torch.load(state_file, weights_only=True)
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    logger.info("resumed %s at step %d", state_file.name, state["step"])
    return int(state["step"])


def _save(module: nn.Module, optimizer: torch.optim.Optimizer, file: Path, step: int) -> None:
    partial = file.with_suffix(".partial")
    state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    torch.save(state, partial)
    partial.replace(file)


def _log_progress(
    config: StageConfig, done: int, seen: list[dict[str, float]], steps_per_s: float
) -> None:
    means = "  ".join(f"{k} {np.mean([m[k] for m in seen]):.3f}" for k in seen[0])
    logger.info(
        "%s step %d/%d  %s  %.1f images/s  %.0f min left",
        config.name,
        done,
        config.num_steps,
        means,
        steps_per_s * config.batch_size,
        (config.num_steps - done) / steps_per_s / 60,
    )
