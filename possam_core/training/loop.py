"""One training loop for every stage: optimiser, schedule, progress, evaluation, and resuming."""

import io
import logging
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from possam_core.errors import PossamError
from possam_core.training.evaluating import evaluating
from possam_core.training.files import Folder
from possam_core.training.resume import Progress, load_state, save_state
from possam_core.training.schedule import learning_rate
from possam_core.training.stage import Evaluation, LoopConfig, LoopReport, Observer, Stage
from possam_core.training.workers import Workers

logger = logging.getLogger(__name__)

MAX_SKIPPED_STEPS = 3  # in a row, then the run stops


class DivergedError(PossamError):
    """Losses have become non-finite; the message names the file with the batch."""


def train_stage(
    stage: Stage,
    config: LoopConfig,
    folder: Folder,
    *,
    workers: Workers | None = None,
    observer: Observer | None = None,
) -> LoopReport:
    """Train the module's trainable parameters for `num_steps`; resumes from `folder` if possible.

    A step depends only on the seed and its number, so a resumed run repeats the same steps.

    Raises:
        CheckpointError: the state in `folder` is of another architecture.
        DivergedError: the gradients of three steps in a row were non-finite.
    """
    return _Loop(stage, config, folder, workers or Workers(), observer).run()


class _Loop:
    """The state of one call of `train_stage`."""

    def __init__(
        self,
        stage: Stage,
        config: LoopConfig,
        folder: Folder,
        workers: Workers,
        observer: Observer | None,
    ) -> None:
        self.stage, self.config, self.folder, self.workers = stage, config, folder, workers
        self.observer = observer if workers.is_first else None
        stage.module.zero_grad()  # gradients that an earlier stage left on other parts
        self.optimizer = _optimizer(stage.module, config)
        self.progress = Progress()
        self.seen: list[dict[str, float]] = []  # of the steps since the last line in the log
        self.last_loss: float | None = None

    def run(self) -> LoopReport:
        """Resume, and do the remaining steps."""
        self.progress = load_state(
            self.folder, self._state_name, self.stage.module, self.optimizer, self.workers
        )
        first, started = self.progress.step, time.monotonic()
        for index in range(first, self.config.num_steps):
            self._step(index)
            done = self.progress.step = index + 1
            if self._is_due(self.config.log_every):
                self._log((done - first) / (time.monotonic() - started))
            if self.stage.evaluate and self._is_due(self.config.evaluate_every):
                self._evaluate(self.stage.evaluate)
            if self._is_due(self.config.save_every):
                self._save()
        progress = self.progress
        return LoopReport(
            num_steps=progress.step,
            num_new=progress.step - first,
            loss=self.last_loss,
            best=progress.best,
            num_skipped=progress.num_skipped,
        )

    @property
    def _state_name(self) -> str:
        return f"{self.stage.name}.state.pt"

    def _is_due(self, every: int) -> bool:
        return self.progress.step % every == 0 or self.progress.step == self.config.num_steps

    def _step(self, index: int) -> None:
        config, module = self.config, self.stage.module
        rate = learning_rate(
            index,
            peak=config.learning_rate,
            num_steps=config.num_steps,
            schedule=config.schedule,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        metrics: dict[str, float] = {}
        self.optimizer.zero_grad(set_to_none=True)
        for part in self.stage.learn(index):
            torch.autograd.backward(part.loss)
            for name, value in {"loss": float(part.loss.detach()), **part.metrics}.items():
                metrics[name] = metrics.get(name, 0.0) + value
        self.workers.sum_gradients(module.parameters())
        norm = float(nn.utils.clip_grad_norm_(module.parameters(), config.max_grad_norm))
        if np.isfinite(norm):  # of the summed gradients, so all workers agree
            self.optimizer.step()
            self.progress.num_skipped_in_a_row = 0
            self.seen.append(metrics)
        else:
            self._skip(index)

    def _skip(self, index: int) -> None:
        """Count a step with a non-finite gradient; raise at the third in a row."""
        progress = self.progress
        progress.num_skipped += 1
        progress.num_skipped_in_a_row += 1
        logger.warning("%s step %d skipped: non-finite gradient", self.stage.name, index + 1)
        if progress.num_skipped_in_a_row < MAX_SKIPPED_STEPS:
            return
        stream = io.BytesIO()
        torch.save(self.stage.batch_of(index) if self.stage.batch_of else None, stream)
        name = f"{self.stage.name}.skipped-step-{index + 1}.worker-{self.workers.rank}.pt"
        raise DivergedError(
            f"expected finite losses, got non-finite ones in {MAX_SKIPPED_STEPS} steps in a row;"
            f" look at the images of the last batch in {self.folder.write(name, stream.getvalue())}"
            ", or lower loop.learning_rate"
        )

    def _evaluate(self, evaluate: Callable[[], Evaluation]) -> None:
        with evaluating(self.stage.module):
            evaluation = evaluate()
        step, figures, progress = self.progress.step, evaluation.figures, self.progress
        if not self.workers.is_first:
            return
        shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        logger.info("%s step %d held-out: %s", self.stage.name, step, shown)
        if self.observer:
            self.observer.scalars(step, {f"held-out/{n}": v for n, v in figures.items()})
            self.observer.examples(step, evaluation.examples)
        best_by = self.stage.best_by
        if best_by and figures[best_by] > progress.best.get(best_by, -np.inf):
            progress.best = dict(figures)
            if self.stage.checkpoint:
                self.folder.write("best.safetensors", self.stage.checkpoint(step, figures))

    def _save(self) -> None:
        """Write the state last, when all that it refers to is on disk."""
        if not self.workers.is_first:
            return
        if self.stage.checkpoint:
            self.folder.write("last.safetensors", self.stage.checkpoint(self.progress.step, {}))
        save_state(self.folder, self._state_name, self.stage.module, self.optimizer, self.progress)

    def _log(self, steps_per_s: float) -> None:
        if not self.seen:  # all steps were skipped
            return
        names, num_steps = list(self.seen[0]), len(self.seen)
        sums = [float(np.sum([metrics[name] for metrics in self.seen])) for name in names]
        last, *totals = self.workers.total([self.seen[-1]["loss"], *sums])
        means = {name: total / num_steps for name, total in zip(names, totals, strict=True)}
        self.last_loss = last
        self.seen.clear()
        if not self.workers.is_first:
            return
        config, step = self.config, self.progress.step
        images_per_s = steps_per_s * config.batch_size
        logger.info(
            "%s step %d/%d  %s  %.1f images/s  %.0f min left",
            self.stage.name,
            step,
            config.num_steps,
            "  ".join(f"{name} {mean:.3f}" for name, mean in means.items()),
            images_per_s,
            (config.num_steps - step) / steps_per_s / 60,
        )
        if self.observer:
            rate = float(self.optimizer.param_groups[0]["lr"])
            others = {"learning_rate": rate, "images_per_s": images_per_s}
            others["skipped_steps"] = float(self.progress.num_skipped)
            self.observer.scalars(step, {f"train/{n}": v for n, v in (means | others).items()})


def _optimizer(module: nn.Module, config: LoopConfig) -> torch.optim.AdamW:
    trainable = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    plain = [p for n, p in trainable if p.ndim < 2 or "embed" in n or "query" in n]
    kept = {id(p) for p in plain}
    decayed = [p for _, p in trainable if id(p) not in kept]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)
