"""Runs the labelling job from plan to manifest, on this machine or on a cluster."""

import contextlib
import logging
import random
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

import ray
from ray.data import Dataset
from ray.exceptions import GetTimeoutError, RayError
from rich.console import Console

from pipelines.label.board import Board, start_board
from pipelines.label.job import EXISTED, OPEN, LabelJob, ModelLoader, ShardTask, label
from pipelines.label.progress import ProgressDisplay, planning_note
from pipelines.label.stages import STAGES, bottleneck
from pipelines.label.workers import with_workers
from pipelines.planning.prepare import PreparedRun, prepare
from pipelines.planning.retry import TRY_CAREFULLY, prepare_retry
from pipelines.ray_cluster import ray_cluster
from pipelines.run.finalise import finalise
from pipelines.run.folder import RunFolder
from pipelines.run.grading import starting_note, why_uncalibrated
from pipelines.run.manifest import Manifest, current_manifest
from pipelines.run.plan import load_rounds
from pipelines.run.presence import Presence
from pipelines.settings.label import LabelConfig
from pipelines.storage.store import trouble_named
from possam_core.errors import counted

logger = logging.getLogger(__name__)

POLL_S = 0.25
STOP_GRACE_S = 20.0  # for the shards in flight after SIGTERM
STOPPED = "the run was stopped"
ERROR_LINE = re.compile(r"[\w.]+(Error|Exception): ")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReport:
    """How a call of `run_label` or `run_retry` ended."""

    location: str
    num_shards: int  # of the whole round
    manifest: Manifest | None  # of the whole run; None while shards are open
    uncalibrated: str | None = None  # why the grades promise nothing; None: they do, or it is open
    is_rerun: bool = False  # there was nothing to do
    num_images: int = 0  # labelled by this call
    num_images_twice: int = 0  # by this call, but committed first by another run
    num_halvings: int = 0  # of a batch, because memory ran out
    num_workers: int = 0  # 0: none was needed
    how: str = ""  # a worker computes, in plain words; empty: its model does not say
    seconds: float = 0.0
    startup_seconds: float = 0.0  # of `seconds`: until the first images were labelled
    images_per_s: float | None = None  # of those after the first ones
    bottleneck: str = ""  # in plain words
    open_shards: dict[int, str] = field(default_factory=dict)  # why each has no file
    failure: str | None = None  # what ended the whole job early
    is_stopped: bool = False  # by SIGTERM


def run_label(
    config: LabelConfig,
    *,
    console: Console | None = None,
    load_model: ModelLoader | None = None,
) -> LabelReport:
    """Label the pending images of the corpus and, once none is left, finalise the run.

    Args:
        config: what to label, with which model, and where to write.
        console: for progress; None: stderr.
        load_model: returns each worker's model; None: possam's own.

    Raises:
        PossamError: something about `config` cannot work.

    Example:
        >>> from pipelines import LabelConfig, run_label
        >>> report = run_label(LabelConfig(images="images", output="labels", num_workers=1))
        >>> report.manifest.totals.images
        5
    """
    console = console or Console(stderr=True)
    with planning_note(console) as on_listed:
        prepared = prepare(config, on_listed=on_listed)
    job = LabelJob(
        config=config, plan=prepared.plan, vocabulary=prepared.vocabulary, load_model=load_model
    )
    return _run(prepared, job, console)


def run_retry(
    config: LabelConfig,
    codes: tuple[str, ...] = (),
    *,
    console: Console | None = None,
    load_model: ModelLoader | None = None,
) -> LabelReport:
    """Label again the images of a finished run that failed with one of `codes`.

    An unfinished retry is finished first.

    Args:
        config: `retry_config` of the run, except for where and how its workers run.
        codes: of the errors to try again; empty: those of the unfinished retry.
        console: as for `run_label`.
        load_model: as for `run_label`.

    Raises:
        PossamError: there is nothing to retry, or the model has changed since.
    """
    prepared = prepare_retry(config, codes)
    job = LabelJob(
        config=config,
        plan=prepared.plan,
        vocabulary=prepared.vocabulary,
        is_careful=bool(TRY_CAREFULLY & set(prepared.plan.codes)),
        load_model=load_model,
    )
    return _run(prepared, job, console or Console(stderr=True))


def _run(prepared: PreparedRun, job: LabelJob, console: Console) -> LabelReport:
    """Label the pending shards of one round and, once none is left, finalise the run."""
    run, plan = prepared.run, prepared.plan
    report = LabelReport(location=run.location, num_shards=plan.num_shards, manifest=None)
    with trouble_named(run.location):
        committed = run.committed_shards(plan.round)
        pending = [s for s in range(plan.num_shards) if s not in committed]
        if not pending:
            done = current_manifest(run, load_rounds(run)) or finalise(run)
            return replace(report, manifest=done, uncalibrated=why_uncalibrated(run), is_rerun=True)
        run.probe()
        if note := starting_note(plan.settings):
            console.print(f"possam: {note}", markup=False, soft_wrap=True)
        session = _Session(run, job, console, attempts=run.count_attempts(plan.round))
    started = time.monotonic()
    session.label_shards(pending)
    with trouble_named(run.location):
        still_open = set(range(plan.num_shards)) - run.committed_shards(plan.round)
        manifest = None if still_open else finalise(run)
        uncalibrated = None if still_open else why_uncalibrated(run)
    num_images = sum(plan.images_in(s) for s in pending if s not in still_open)
    return replace(
        report,
        manifest=manifest,
        uncalibrated=uncalibrated,
        num_images=num_images,
        num_images_twice=session.num_images_twice,
        num_halvings=session.num_halvings,
        num_workers=session.num_workers,
        how=session.how,
        seconds=time.monotonic() - started,
        startup_seconds=session.startup_seconds,
        images_per_s=session.images_per_s,
        bottleneck=bottleneck(session.stage_seconds, num_images=num_images),
        open_shards={s: session.problems.get(s, "not finished") for s in sorted(still_open)},
        failure=session.failure,
        is_stopped=session.is_stopped,
    )


class _Session:
    """One call's work on pending shards: a cluster, a job, a display."""

    def __init__(
        self, run: RunFolder, job: LabelJob, console: Console, *, attempts: Mapping[int, int]
    ) -> None:
        self._run = run
        self._job = job
        self._console = console
        self._attempts = attempts  # of earlier calls, by shard
        self.failure: str | None = None
        self.problems: dict[int, str] = {}  # why a shard stayed open
        self.stage_seconds = dict.fromkeys(STAGES, 0.0)
        self.num_images_twice = 0
        self.num_halvings = 0
        self.num_workers = 0
        self.how = ""
        self.is_stopped = False
        self.startup_seconds = 0.0
        self.images_per_s: float | None = None

    def label_shards(self, pending: list[int]) -> None:
        """Return when every shard of `pending` is committed or will not be by this call."""
        plan, config = self._job.plan, self._job.config
        tasks = [ShardTask(shard=s, attempts_before=self._attempts[s]) for s in pending]
        random.shuffle(tasks)  # so that two runs at once rarely meet
        presence = Presence(self._run)
        for neighbour in presence.neighbours():
            logger.warning("%s was at work on this run a moment ago; two are safe", neighbour)
        started = time.monotonic()
        done_before = plan.num_images - sum(plan.images_in(s) for s in pending)
        display = ProgressDisplay(
            self._console, total=plan.num_images, done_before=done_before, started=started
        )
        try:
            with self._stopping_on_sigterm(), display:
                display.announce("starting Ray", started)
                with ray_cluster(config.num_workers, num_gpus=config.gpus_per_worker):
                    config = with_workers(config, len(pending))
                    self.num_workers = config.num_workers or 1
                    board = start_board(config.error_budget, self.num_workers)
                    dataset = label(tasks, replace(self._job, config=config), board)
                    loading = f"loading the model in {counted(self.num_workers, 'worker')}"
                    display.announce(loading, time.monotonic())
                    if not self.is_stopped:
                        self._watch(dataset, board, display, presence)
        finally:
            presence.leave()
        self.startup_seconds = (display.rate.first_images_at or started) - started
        self.images_per_s = display.rate.images_per_s

    def _watch(
        self, dataset: Dataset, board: Board, display: ProgressDisplay, presence: Presence
    ) -> None:
        """Return when the job has ended, or `STOP_GRACE_S` after SIGTERM."""
        consumer = threading.Thread(target=self._consume, args=(dataset,), daemon=True)
        consumer.start()
        deadline = float("inf")
        while consumer.is_alive() and time.monotonic() < deadline:
            consumer.join(POLL_S)
            presence.beat()
            if self.is_stopped and deadline == float("inf"):
                deadline = time.monotonic() + STOP_GRACE_S
                board.stop.remote(STOPPED)
            _show_progress(board, display)
        _show_progress(board, display)  # includes the last images in the rate
        if not self.is_stopped and not self.failure:
            with contextlib.suppress(RayError):
                self.failure = ray.get(board.reason_to_stop.remote(), timeout=5.0) or None

    def _consume(self, dataset: Dataset) -> None:
        """Run the job to its end; an exception is kept, not raised, because this is a thread."""
        try:
            for row in dataset.iter_rows():
                self._note(row)
        except Exception as error:
            self.failure = _reason(error)
            logger.debug("the job failed", exc_info=True)

    def _note(self, row: dict[str, Any]) -> None:
        """Count a worker's result for one shard."""
        if row["outcome"] == OPEN:
            self.problems[int(row["shard"])] = str(row["problem"])
        if row["outcome"] == EXISTED:
            self.num_images_twice += int(row["rows"])
        self.num_halvings += int(row["halvings"])
        self.how = str(row["how"])
        for stage in STAGES:
            self.stage_seconds[stage] += float(row[stage])

    @contextmanager
    def _stopping_on_sigterm(self) -> Iterator[None]:
        """Turn SIGTERM into `is_stopped`, if this is the main thread."""
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


def _show_progress(board: Board, display: ProgressDisplay) -> None:
    try:
        display.show(ray.get(board.num_images.remote(), timeout=5.0), time.monotonic())
    except (GetTimeoutError, RayError):
        logger.debug("no news from the workers", exc_info=True)


def _reason(error: Exception) -> str:
    """The line of Ray's long message that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if ERROR_LINE.match(line)]
    return named[-1] if named else (lines or [type(error).__name__])[0]
