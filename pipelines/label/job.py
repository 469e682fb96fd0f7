"""The labelling job: shards of planned images -> committed files of rows, one Ray Data stage."""

import gc
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, Dataset
from ray.util.annotations import RayDeprecationWarning

from pipelines.fetch.image_reader import ImageReader
from pipelines.label.board import Board
from pipelines.label.stages import STAGES, Stage
from pipelines.label.workers import has_channels_last, is_compiled
from pipelines.run.folder import RunFolder
from pipelines.run.parts import read_shard
from pipelines.run.plan import Plan
from pipelines.schema import ERROR, Batch
from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError, first_line
from possam_core.vocabulary.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pipelines.label.labeller import ImagePredictor
    from pipelines.schema import Row

logger = logging.getLogger(__name__)

CAREFUL_FROM_ATTEMPT = 3
MAX_TRIES = 4  # of one shard within one job; the third and fourth are careful
MAX_WORKER_RESTARTS = 100  # of one worker; then the job fails rather than restarting for ever
REPORT_EVERY = 8  # images
TASKS_AHEAD = 4  # for each worker: the remaining shards are divided among so many

COMMITTED, EXISTED, OPEN = "committed", "existed", "open"  # outcomes of a shard

# A checkpoint's name and a vocabulary -> the model that a worker labels with.
ModelLoader = Callable[[str, Vocabulary], "ImagePredictor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """One pending shard, and how often earlier jobs have started it."""

    shard: int
    attempts_before: int


@dataclass(slots=True)
class ShardResult:
    """What became of one shard."""

    shard: int
    outcome: str = ""  # empty: the rows are still to be committed
    problem: str = ""  # why it stays open
    rows: "list[Row]" = field(default_factory=list)
    is_careful: bool = False
    num_halvings: int = 0
    held_up: dict[Stage, float] = field(default_factory=dict)  # seconds of each stage
    started: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelJob:
    """The same arguments for every worker of a job."""

    config: LabelConfig
    plan: Plan
    vocabulary: Vocabulary
    is_careful: bool = False  # from the first attempt on
    load_model: ModelLoader | None = None  # None: possam's own, as the config asks for it

    def load(self) -> "ImagePredictor":
        """The model, in the process that calls this."""
        config = replace(self.config, precision=self.plan.settings.precision)
        return load_worker_model(config, self.vocabulary, self.load_model)


def load_worker_model(
    config: LabelConfig, vocabulary: Vocabulary, load_model: ModelLoader | None
) -> "ImagePredictor":
    """The model that a worker labels with: of `load_model`, or else possam's own for `config`."""
    if load_model is not None:
        return load_model(config.model, vocabulary)
    from pipelines.label.labeller import BATCH_SIZE
    from possam_core.predictor import load_teacher  # torch: the driver does without

    return load_teacher(
        config.model,
        vocabulary,
        device="cuda" if config.gpus_per_worker else "cpu",
        precision=config.precision or "float32",
        compile_for=BATCH_SIZE if is_compiled(config) else None,
        channels_last=has_channels_last(config),
    )


class ShardLabeller:
    """Holds one model per actor; Ray builds it once and hands it a block of shards a call."""

    def __init__(self, job: LabelJob, board: Board) -> None:
        gc.disable()  # it would look through all of torch time and again, and find nothing
        from pipelines.label.labeller import ImageLabeller  # torch, as above

        self.job = job
        self.board = board
        config, self.plan = job.config, job.plan
        self.run = RunFolder(config.output, single_writer=config.single_writer)
        self._writer = ThreadPoolExecutor(1)
        self.labeller = ImageLabeller(
            job.load,
            ImageReader(config.allowed_hosts),
            consistency_share=job.plan.settings.consistency_share,
        )
        if self.labeller.predictor.fingerprint != self.plan.settings.model_sha256:
            raise ConfigError(
                f"expected the weights that the plan names, but {config.model} has changed since;"
                " restore it or choose another --output"
            )
        gc.freeze()
        gc.enable()

    def __call__(self, batch: Batch) -> Iterator[Batch]:
        """The outcome of each shard of a block; one is written while the next is labelled.

        In careful mode it is written first: nothing else may end the worker before.
        """
        before: Future[ShardResult] | None = None
        for shard, attempts_before in zip(batch["shard"], batch["attempts_before"], strict=True):
            task = ShardTask(shard=int(shard), attempts_before=int(attempts_before))
            held_up = dict(self.labeller.clock.seconds)
            labelled = self._label(task)
            if before is not None:
                yield self._outcome(before)
            labelled.held_up = {
                stage: self.labeller.clock.seconds[stage] - held_up[stage] for stage in STAGES
            }
            before = self._writer.submit(self._commit, labelled)
            if labelled.is_careful:
                with self.labeller.clock.held_up_by("write"):
                    before.result()
        if before is not None:
            yield self._outcome(before)

    def _outcome(self, writing: "Future[ShardResult]") -> Batch:
        """A row for the driver, once the shard is written."""
        with self.labeller.clock.held_up_by("write"):
            result = writing.result()
        return {
            "shard": [result.shard],
            "outcome": [result.outcome],
            "problem": [result.problem],
            "rows": [len(result.rows)],
            "errors": [sum(row["status"] == ERROR for row in result.rows)],
            "halvings": [result.num_halvings],
            "how": [self.labeller.how],
            **{stage: [seconds] for stage, seconds in result.held_up.items()},
        }

    def _label(self, task: ShardTask) -> "ShardResult":
        """The rows of a shard, to be committed; or why there are none."""
        result = ShardResult(task.shard)
        num_halvings = self.labeller.num_halvings
        try:
            self._fill(result, task)
        except Exception as error:  # a bad shard never fails a run: it stays open
            self._leave_open(result, error)
        result.num_halvings = self.labeller.num_halvings - num_halvings
        return result

    def _fill(self, result: "ShardResult", task: ShardTask) -> None:
        if reason := ray.get(self.board.reason_to_stop.remote()):
            result.outcome, result.problem = OPEN, reason
            return
        with self.labeller.clock.held_up_by("write"):
            if self.run.is_committed(task.shard, self.plan.round):
                result.outcome = EXISTED
                return
            attempt = self.run.start_attempt(task.shard, self.plan.round)
        if attempt - task.attempts_before > MAX_TRIES:
            result.outcome, result.problem = OPEN, f"it killed its worker {MAX_TRIES} times"
            return
        result.is_careful = attempt >= CAREFUL_FROM_ATTEMPT or self.job.is_careful
        num_errors = 0
        for row in self._rows(task.shard, attempt, is_careful=result.is_careful):
            result.rows.append(row)
            num_errors += row["status"] == ERROR
            if len(result.rows) % REPORT_EVERY == 0:
                self.board.report.remote(task.shard, len(result.rows), num_errors)
        self.board.report.remote(task.shard, len(result.rows), num_errors)

    def _commit(self, result: "ShardResult") -> "ShardResult":
        """Write the rows, in a thread of its own."""
        if not result.outcome:
            try:
                is_new = self.run.commit(result.shard, self._file(result), self.plan.round)
                result.outcome = COMMITTED if is_new else EXISTED
                self.board.note_commit.remote()
            except Exception as error:  # as above
                self._leave_open(result, error)
        seconds = time.perf_counter() - result.started
        logger.info(
            "shard %d %s: %d rows in %.1f s",
            result.shard,
            result.outcome,
            len(result.rows),
            seconds,
        )
        return result

    def _file(self, result: "ShardResult") -> bytes:
        from pipelines.label.rows import shard_bytes  # torch, as above

        return shard_bytes(
            result.rows, self._provenance(result.shard), version=self.plan.schema_version
        )

    def _leave_open(self, result: "ShardResult", error: Exception) -> None:
        logger.error("shard %d stays open", result.shard, exc_info=error)
        result.outcome = OPEN
        result.problem = f"{type(error).__name__}: {first_line(error)}"
        self.board.note_open.remote(result.problem)

    def _rows(self, shard: int, attempt: int, *, is_careful: bool) -> "Iterator[Row]":
        images = read_shard(self.run, shard, self.plan.parts_folder)
        if not is_careful:
            return self.labeller.rows(images)
        from pipelines.label.careful import CarefulLabeller

        logger.warning("shard %d: attempt %d, in careful mode", shard, attempt)
        careful = CarefulLabeller(
            self.job.load,
            self.labeller.reader,
            consistency_share=self.labeller.consistency_share,
        )
        return careful.rows(images)

    def _provenance(self, shard: int) -> dict[str, str]:
        settings = self.plan.settings
        teacher = settings.teacher
        return {
            "plan_id": self.plan.plan_id,
            "round": str(self.plan.round),
            "shard": str(shard),
            "model": settings.model,
            "model_sha256": settings.model_sha256,
            "vocabulary": settings.vocabulary,
            "vocabulary_sha256": settings.vocabulary_sha256,
            "possam_version": version("possam"),
            **({"teacher": json.dumps(teacher.to_json())} if teacher else {}),
        }


def label(pending: list[ShardTask], job: LabelJob, board: Board) -> Dataset:
    """Lazily label and commit `pending`; nothing runs until the caller consumes the result."""
    num_workers = job.config.num_workers or 1
    with warnings.catch_warnings():
        # Ray 2.60 deprecates its only parameter for restarts and names no other.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        # from_arrow would count the rows of each table in a task of its own, on a free CPU.
        shards: Dataset = ray.data.from_blocks(list(_blocks(pending, num_workers)))
        return shards.map_batches(
            ShardLabeller,
            fn_constructor_args=(job, board),
            compute=ActorPoolStrategy(size=num_workers),
            num_cpus=1,
            num_gpus=job.config.gpus_per_worker or None,
            batch_size=None,  # a whole block
            max_restarts=MAX_WORKER_RESTARTS,
        )


def _blocks(pending: list[ShardTask], num_workers: int) -> Iterator[pa.Table]:
    """Divide the work into tasks, each a share of the rest, down to single shards at the end.

    Ray prepares each task for some milliseconds before the first one runs, so 100,000 shards must
    not be as many tasks; and the last tasks must be small, so that all workers end together.
    """
    first = 0
    while first < len(pending):
        left = len(pending) - first
        size = max(1, left // (TASKS_AHEAD * num_workers))
        tasks = pending[first : first + size]
        yield pa.table(
            {
                "shard": [task.shard for task in tasks],
                "attempts_before": [task.attempts_before for task in tasks],
            }
        )
        first += size
