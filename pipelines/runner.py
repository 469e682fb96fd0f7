"""Runs the labelling job from plan to manifest, on this machine or on a cluster."""

import logging
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType

import ray
from ray.data import Dataset
from ray.exceptions import GetTimeoutError, RayError
from rich.console import Console

from pipelines.cluster import ray_cluster
from pipelines.label import OPEN, LabelConfig, ShardTask, label
from pipelines.manifest import Manifest, finalise, read_manifest
from pipelines.prepare import PreparedRun, prepare
from pipelines.presence import Presence
from pipelines.progress import Board, ProgressDisplay, start_board

logger = logging.getLogger(__name__)

POLL_S = 0.25
STOP_GRACE_S = 20.0  # what the shards in flight may take after SIGTERM
ERROR_LINE = re.compile(r"[\w.]+(Error|Exception): ")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReport:
    """How a call of `run_label` ended."""

    location: str
    num_shards: int  # of the whole run
    manifest: Manifest | None  # of the whole run; None while shards are open
    is_rerun: bool = False  # there was nothing to do
    num_images: int = 0  # labelled by this call
    seconds: float = 0.0
    startup_seconds: float = 0.0  # of those, until the first images were labelled
    open_shards: dict[int, str] = field(default_factory=dict)  # why each has no file
    failure: str | None = None  # what ended the whole job early
    is_stopped: bool = False  # by SIGTERM


def run_label(config: LabelConfig, *, console: Console | None = None) -> LabelReport:
    """Label what is pending of the corpus and, once nothing is, finalise the run.

    Raises:
        PossamError: something about `config` cannot work.
    """
    prepared = prepare(config)
    run, plan = prepared.run, prepared.plan
    committed = run.committed_shards()
    pending = [s for s in range(plan.num_shards) if s not in committed]
    report = LabelReport(location=config.output, num_shards=plan.num_shards, manifest=None)
    if not pending:
        manifest = read_manifest(run) or finalise(run, plan)
        return replace(report, manifest=manifest, is_rerun=True)
    run.probe()
    started = time.monotonic()
    session = _Session(prepared, config, console or Console(stderr=True))
    session.label_shards(pending)
    still_open = set(range(plan.num_shards)) - run.committed_shards()
    return replace(
        report,
        manifest=None if still_open else finalise(run, plan),
        num_images=sum(plan.images_in(s) for s in pending if s not in still_open),
        seconds=time.monotonic() - started,
        startup_seconds=session.startup_seconds,
        open_shards={s: session.problems.get(s, "not finished") for s in still_open},
        failure=session.failure,
        is_stopped=session.is_stopped,
    )


class _Session:
    """One call's work on pending shards: a cluster, a job, a display."""

    def __init__(self, prepared: PreparedRun, config: LabelConfig, console: Console) -> None:
        self._prepared = prepared
        self._config = config
        self._console = console
        self.failure: str | None = None
        self.problems: dict[int, str] = {}  # why a shard stayed open
        self.is_stopped = False
        self.startup_seconds = 0.0

    def label_shards(self, pending: list[int]) -> None:
        """Return when every shard of `pending` is committed or will not be by this call."""
        run, plan = self._prepared.run, self._prepared.plan
        attempts = run.count_attempts()
        tasks = [ShardTask(shard=s, attempts_before=attempts[s]) for s in pending]
        random.shuffle(tasks)  # so that two runs at once rarely meet
        presence = Presence(run)
        for neighbour in presence.neighbours():
            logger.warning("%s was at work on this run a moment ago; two are safe", neighbour)
        started = time.monotonic()
        done_before = plan.num_images - sum(plan.images_in(s) for s in pending)
        display = ProgressDisplay(self._console, total=plan.num_images, done_before=done_before)
        try:
            with ray_cluster(self._config.num_workers):
                board = start_board()
                config = self._with_workers(len(pending))
                job = label(tasks, config, plan, self._prepared.vocabulary, board)
                with display, self._stopping_on_sigterm():
                    self._watch(job, board, display, presence)
        finally:
            presence.leave()
        self.startup_seconds = display.first_images_at - started

    def _with_workers(self, num_pending: int) -> LabelConfig:
        num_cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
        num_workers = self._config.num_workers or max(1, num_cpus - 1)
        return replace(self._config, num_workers=min(num_workers, num_pending))

    def _watch(
        self,
        job: Dataset,
        board: Board,
        display: ProgressDisplay,
        presence: Presence,
    ) -> None:
        """Return when the job has ended, or when its grace after SIGTERM has."""
        consumer = threading.Thread(target=self._consume, args=(job,), daemon=True)
        consumer.start()
        deadline = float("inf")
        while consumer.is_alive() and time.monotonic() < deadline:
            consumer.join(POLL_S)
            presence.beat()
            if self.is_stopped and deadline == float("inf"):
                deadline = time.monotonic() + STOP_GRACE_S
                board.stop.remote()
            try:
                display.show(ray.get(board.num_images.remote(), timeout=5.0))
            except (GetTimeoutError, RayError):
                logger.debug("no news from the workers", exc_info=True)

    def _consume(self, job: Dataset) -> None:
        """Run the job to its end; keeps what went wrong instead of raising in a thread."""
        try:
            for row in job.iter_rows():
                if row["outcome"] == OPEN:
                    self.problems[int(row["shard"])] = str(row["problem"])
        except Exception as error:
            self.failure = _reason(error)
            logger.debug("the job failed", exc_info=True)

    @contextmanager
    def _stopping_on_sigterm(self) -> Iterator[None]:
        """Turn SIGTERM into `is_stopped`, where this thread may."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(_signal: int, _frame: FrameType | None) -> None:
            self.is_stopped = True

        previous = signal.signal(signal.SIGTERM, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous)


def _reason(error: Exception) -> str:
    """The line of Ray's long message that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if ERROR_LINE.match(line)]
    return named[-1] if named else (lines or [type(error).__name__])[0]
