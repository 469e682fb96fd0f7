"""The training job: settings in, checkpoints out; the same command again resumes it.

One process trains without Ray; several are started by Ray Train. Each runs the same code.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from pipelines.train.config import TrainConfig
from pipelines.train.folder import open_output, require_same_settings
from pipelines.train.worker import WorkerReport, train_worker
from possam_core.errors import ConfigError, PossamError

logger = logging.getLogger(__name__)

BEST, LAST = "best.safetensors", "last.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """How a call of `run_train` ended."""

    location: str  # of the output
    num_steps: int  # done, in all
    num_new: int  # of those, by this call
    loss: float | None  # of the last step
    best: Mapping[str, float]  # held-out figures of the best checkpoint
    num_skipped: int  # steps that were skipped because of non-finite gradients
    weights_sha256: tuple[str, ...]  # by worker


def run_train(config: TrainConfig) -> TrainReport:
    """Train until every step is done.

    Raises:
        PossamError: the settings, the data or the network are invalid, the training in the output
            was started with other settings, or its losses have become non-finite.
    """
    require_same_settings(open_output(config.output), config)
    if config.num_workers is None:
        report = train_worker(config, device=_device(config))
    else:
        from pipelines.train.cluster import train_on_cluster  # imports Ray, which takes seconds

        report = train_on_cluster(config)
    _require_agreement(report)
    loop = report.loop
    return TrainReport(
        location=config.output,
        num_steps=loop.num_steps,
        num_new=loop.num_new,
        loss=loop.loss,
        best=loop.best,
        num_skipped=loop.num_skipped,
        weights_sha256=report.weights_sha256,
    )


def _device(config: TrainConfig) -> torch.device:
    if config.gpus_per_worker and not torch.cuda.is_available():
        raise ConfigError(
            "expected a GPU for gpus_per_worker, but torch finds none here; train on the CPU, or"
            " fix the driver"
        )
    return torch.device("cuda" if config.gpus_per_worker else "cpu")


def _require_agreement(report: WorkerReport) -> None:
    """Check that every worker ended with the same weights, bit for bit."""
    if len(set(report.weights_sha256)) > 1:
        raise PossamError(
            "expected all workers to end with the same weights, but they differ; start again in"
            " another output, and report this"
        )
