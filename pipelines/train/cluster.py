"""A training on a Ray cluster: the same work in several processes, started by Ray Train.

Ray's own checkpoints are not used: restarted workers read the state in the output.
"""

import logging
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import ray
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from pipelines.ray_cluster import ray_cluster
from pipelines.train.config import TrainConfig
from pipelines.train.worker import WorkerReport, train_worker
from possam_core.errors import ConfigError, PossamError

logger = logging.getLogger(__name__)

POLL_S = 0.5
SHOWN_LOGGERS = ("possam_core", "pipelines")  # whose lines the driver shows

Notes = Any  # handle of a `NoteBoard` actor; Ray's own type for it hides the methods


class NoteBoard:
    """Holds the log lines of the first worker until the driver takes them."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Add a line."""
        self._lines.append(line)

    def take(self) -> list[str]:
        """Return the lines added since the last call, and forget them."""
        lines, self._lines = self._lines, []
        return lines


def train_on_cluster(config: TrainConfig) -> WorkerReport:
    """Train with `config.num_workers` processes, and log the lines of the first one.

    Raises:
        PossamError: as raised by a worker, or the cluster has no room for them.
    """
    num_workers, use_gpu = config.num_workers or 1, config.gpus_per_worker > 0
    with (
        ray_cluster(num_workers, num_gpus=float(config.gpus_per_worker)),
        tempfile.TemporaryDirectory(prefix="possam-train-") as scratch,
    ):
        _require_room(num_workers, use_gpu=use_gpu)
        notes: Notes = ray.remote(num_cpus=0)(NoteBoard).remote()
        trainer = TorchTrainer(
            _train,  # type: ignore[arg-type] # its return value is in the result
            train_loop_config={"config": config, "notes": notes},
            torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
            scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=use_gpu),
            run_config=RunConfig(
                name="possam",
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=config.max_restarts),
            ),
        )
        return _follow(trainer.fit, notes)


def _follow(fit: Callable[[], Any], notes: Notes) -> WorkerReport:
    """Run `fit` in a thread and log the notes until it ends."""
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.append(fit().return_value)
        except Exception as error:  # raised below, in the caller's thread
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_S)
        for line in ray.get(notes.take.remote()):
            logger.info("%s", line)
    (result,) = ended
    if isinstance(result, WorkerReport):
        return result
    raise cause_of(result)


def cause_of(error: Exception) -> Exception:
    """The error that a worker raised, unwrapped from Ray's error."""
    failures = list(error.worker_failures.values()) if isinstance(error, WorkerGroupError) else []
    for failure in failures:
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, PossamError):
                return cause
            cause = getattr(cause, "cause", None) or cause.__cause__
    first = failures[0] if failures else error
    line = next((text for text in reversed(str(first).splitlines()) if text.strip()), repr(first))
    return ConfigError(
        f"expected the workers to train, but one was lost ({line.strip()}); run the same command"
        " again to go on from the last state, or set max_restarts"
    )


def _train(settings: dict[str, Any]) -> WorkerReport:
    """Train in one worker of the cluster."""
    config: TrainConfig = settings["config"]
    device: torch.device = get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if torch.distributed.get_rank() == 0:
        handler = _NoteHandler(settings["notes"])
        for name in SHOWN_LOGGERS:
            logging.getLogger(name).addHandler(handler)
            logging.getLogger(name).setLevel(logging.INFO)
    return train_worker(config, device=device)


class _NoteHandler(logging.Handler):
    """Sends log lines to the driver."""

    def __init__(self, notes: Notes) -> None:
        super().__init__(logging.INFO)
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self._notes.add.remote(record.getMessage())


def _require_room(num_workers: int, *, use_gpu: bool) -> None:
    """Check that the cluster has a CPU, or a GPU, for each worker: else Ray waits for ever."""
    kind = "GPU" if use_gpu else "CPU"
    found = ray.cluster_resources().get(kind, 0)  # type: ignore[no-untyped-call]
    if found < num_workers:
        raise ConfigError(
            f"expected a {kind} for each of {num_workers} workers, but the cluster has"
            f" {found:g}; lower num_workers"
        )
