"""The labelling job: shards of planned images -> committed files of rows, one Ray Data stage."""

import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

import ray
from ray.data import ActorPoolStrategy, Dataset
from ray.util.annotations import RayDeprecationWarning

from pipelines.plan import Plan, read_shard
from pipelines.progress import Board
from pipelines.rows import Row, shard_bytes
from pipelines.run_folder import RunFolder
from pipelines.schema import ERROR, Batch
from pipelines.store import normalise_location
from possam_core.errors import ConfigError
from possam_core.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

CAREFUL_FROM_ATTEMPT = 3
MAX_TRIES = 4  # of one shard within one job; the third and fourth are careful
MAX_WORKER_RESTARTS = 20  # of one worker; then the job fails rather than restarting for ever
REPORT_EVERY = 8  # images

COMMITTED, EXISTED, OPEN = "committed", "existed", "open"  # outcomes of a shard


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """What to label, with what, and where to."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    images: str  # local folder, glob or file, or an s3:// prefix
    output: str  # run folder: local, or an s3:// prefix
    model: str = "possam-tiny"  # bundled name or path of a checkpoint
    vocabulary: str | None = None  # YAML file or built-in name; None: the checkpoint's own
    num_workers: int | None = None  # None: one less than there are CPUs, at least one
    shard_size: int = 1024  # images in one file

    def __post_init__(self) -> None:
        for name in ("images", "output"):
            object.__setattr__(self, name, normalise_location(getattr(self, name)))
        if self.num_workers is not None and self.num_workers < 1:
            raise ConfigError(
                f"num_workers must be at least 1, got {self.num_workers}; leave it out for the"
                " default"
            )
        if not 1 <= self.shard_size <= 100_000:
            raise ConfigError(
                f"shard_size must be 1 to 100000, got {self.shard_size}; 1024 suits most runs"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """One pending shard, and how often earlier jobs have started it."""

    shard: int
    attempts_before: int


class ShardLabeller:
    """Holds one model per actor; Ray builds it once and hands it one shard a call."""

    def __init__(
        self, config: LabelConfig, plan: Plan, vocabulary: Vocabulary, board: Board
    ) -> None:
        # torch and the model: for workers only, the driver does without.
        from pipelines.image_labeller import ImageLabeller

        self.config = config
        self.plan = plan
        self.vocabulary = vocabulary
        self.board = board
        self.run = RunFolder(config.output)
        self.labeller = ImageLabeller(config.model, vocabulary)
        if self.labeller.predictor.fingerprint != plan.settings.model_sha256:
            raise ConfigError(
                f"expected the weights that the plan names, but {config.model} has changed since;"
                " restore it or choose another --output"
            )

    def __call__(self, batch: Batch) -> Batch:
        task = ShardTask(
            shard=int(batch["shard"][0]), attempts_before=int(batch["attempts_before"][0])
        )
        started = time.perf_counter()
        rows: list[Row] = []
        try:
            outcome, problem = self._label(task, rows)
        except Exception as error:  # a bad shard never fails a run: it stays open
            logger.exception("shard %d stays open", task.shard)
            outcome, problem = OPEN, f"{type(error).__name__}: {error}".partition("\n")[0]
        seconds = time.perf_counter() - started
        errors = sum(r["status"] == ERROR for r in rows)
        logger.info("shard %d %s: %d rows in %.1f s", task.shard, outcome, len(rows), seconds)
        return {
            "shard": [task.shard],
            "outcome": [outcome],
            "problem": [problem],
            "rows": [len(rows)],
            "ok": [len(rows) - errors],
            "errors": [errors],
            "seconds": [seconds],
        }

    def _label(self, task: ShardTask, rows: list[Row]) -> tuple[str, str]:
        """Fill `rows` and commit them; the outcome, and why the shard stays open if it does."""
        if not ray.get(self.board.may_start.remote()):
            return OPEN, "the run was stopped"
        attempt = self.run.start_attempt(task.shard)
        if attempt - task.attempts_before > MAX_TRIES:
            return OPEN, f"it killed its worker {MAX_TRIES} times"
        for row in self._rows(task.shard, attempt):
            rows.append(row)
            if len(rows) % REPORT_EVERY == 0:
                self.board.report.remote(task.shard, len(rows))
        self.board.report.remote(task.shard, len(rows))
        is_new = self.run.commit(task.shard, shard_bytes(rows, self._provenance(task.shard)))
        return (COMMITTED if is_new else EXISTED), ""

    def _rows(self, shard: int, attempt: int) -> Iterator[Row]:
        images = read_shard(self.run, shard)
        if attempt < CAREFUL_FROM_ATTEMPT:
            return self.labeller.rows(images)
        from pipelines.careful import CarefulLabeller

        logger.warning("shard %d: attempt %d, in careful mode", shard, attempt)
        return CarefulLabeller(self.config.model, self.vocabulary).rows(images)

    def _provenance(self, shard: int) -> dict[str, str]:
        settings = self.plan.settings
        return {
            "plan_id": self.plan.plan_id,
            "shard": str(shard),
            "model": settings.model,
            "model_sha256": settings.model_sha256,
            "vocabulary": settings.vocabulary,
            "vocabulary_sha256": settings.vocabulary_sha256,
            "possam_version": version("possam"),
        }


def label(
    pending: list[ShardTask],
    config: LabelConfig,
    plan: Plan,
    vocabulary: Vocabulary,
    board: Board,
) -> Dataset:
    """Lazily label and commit `pending`; nothing runs until the caller consumes the result."""
    rows = [{"shard": t.shard, "attempts_before": t.attempts_before} for t in pending]
    with warnings.catch_warnings():
        # Ray 2.60 deprecates its only parameter for restarts and names no other.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            ShardLabeller,
            fn_constructor_args=(config, plan, vocabulary, board),
            compute=ActorPoolStrategy(size=config.num_workers or 1),
            num_cpus=1,
            batch_size=1,
            max_restarts=MAX_WORKER_RESTARTS,
        )
