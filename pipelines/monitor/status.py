"""The status of a run, read only from listings and small JSON, while it runs and afterwards."""

import json
import logging
import re
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pipelines.monitor.pace import CommitTimes, Pace, Period, WorkTimes
from pipelines.run.folder import ATTEMPT_KEY, SHARD_KEY, RunFolder, data_folder
from pipelines.run.manifest import current_manifest
from pipelines.run.plan import Plan, TeacherRecord, load_rounds
from pipelines.run.presence import GONE_AFTER_S
from pipelines.storage.addresses import normalise_location
from pipelines.storage.store import trouble_named
from possam_core.errors import ConfigError

logger = logging.getLogger(__name__)

State = Literal["planned", "running", "interrupted", "complete", "finalised"]

SUSPECT_FROM_ATTEMPT = 3  # two attempts have failed or died
NOTE_KEY = re.compile(r"_runs/[0-9a-f]+\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStatus:
    """The corpus (round 0), or a later round of failed images."""

    round: int
    codes: tuple[str, ...]  # whose images a later round labels again
    num_images: int
    num_shards: int
    num_committed_images: int
    num_committed_shards: int
    num_started_shards: int  # of the open ones
    suspects: tuple[int, ...]  # open shards whose third attempt or a later one has started

    @property
    def is_done(self) -> bool:
        """Whether no shard of it is open."""
        return self.num_committed_shards == self.num_shards


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A process that has recorded that it works on the run, and not that it has finished."""

    host: str
    pid: int
    started: datetime
    last_seen: datetime
    is_at_work: bool  # seen recently; otherwise it is silent


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """The state of a run at one moment."""

    location: str
    time: datetime  # when it was read
    plan_id: str
    teacher: TeacherRecord | None  # None: the plan does not record it
    state: State
    rounds: tuple[RoundStatus, ...]
    num_bytes: int  # of all committed files
    expected_bytes: int | None  # expected when all is committed; None: not known yet
    pace: Pace
    workers: tuple[Worker, ...]  # the last seen first
    root_hash: str | None  # None: not finalised

    @property
    def share_committed(self) -> float:
        """Of the images of all rounds, in [0, 1]."""
        num_committed = sum(r.num_committed_images for r in self.rounds)
        return num_committed / sum(r.num_images for r in self.rounds)

    def to_json(self) -> dict[str, Any]:
        """The same for programs; times in ISO 8601 with their zone."""
        content = asdict(self) | {"share_committed": self.share_committed}
        plain: dict[str, Any] = json.loads(json.dumps(content, default=datetime.isoformat))
        return plain


def read_status(location: str) -> RunStatus:
    """The status of the run at `location`; memory is a byte a shard, and the open ones' attempts.

    Raises:
        ConfigError: there is no run, or its store does not answer.

    Example:
        >>> from pipelines import read_status
        >>> read_status("run").state
        'finalised'
    """
    run = RunFolder(normalise_location(location))
    with trouble_named(run.location):
        return _read(run)


def _read(run: RunFolder) -> RunStatus:
    plans = load_rounds(run)
    if not plans:
        raise ConfigError(
            f"expected a planned run at {run.location}, found no plan; make one with possam plan"
            " or possam label"
        )
    now = datetime.now(UTC)
    notes = _read_notes(run)
    workers = _workers(notes, now)
    work = WorkTimes(
        periods=[Period(note["started"], note["last_seen"]) for note in notes],
        is_going_on=any(worker.is_at_work for worker in workers),
    )
    commits = CommitTimes(recent=work.recent(now))
    committed = [_read_commits(run, plan, commits) for plan in plans]
    attempts = _count_open_attempts(run, committed)
    rounds = tuple(map(_round_status, plans, committed, attempts))
    num_images = sum(plan.num_images for plan in plans)
    expected = commits.num_bytes / commits.num_images * num_images if commits.num_images else None
    is_done = all(r.is_done for r in rounds)
    manifest = current_manifest(run, plans) if is_done else None
    root_hash = manifest.root_hash if manifest else None
    return RunStatus(
        location=run.location,
        time=now,
        plan_id=plans[0].plan_id,
        teacher=plans[0].settings.teacher,
        state=_state(rounds, workers, root_hash, was_at_work=bool(notes)),
        rounds=rounds,
        num_bytes=commits.num_bytes,
        expected_bytes=None if expected is None else round(expected),
        pace=commits.pace(work, num_images_left=num_images - commits.num_images),
        workers=tuple(workers),
        root_hash=root_hash,
    )


def _read_notes(run: RunFolder) -> list[dict[str, Any]]:
    """What each process that ever worked on the run has recorded, with times read."""
    notes = [run.read_json(key) for key in run.keys("_runs") if NOTE_KEY.fullmatch(key)]
    times = ("started", "last_seen")
    return [n | {t: datetime.fromisoformat(n[t]) for t in times} for n in notes if n]


def _workers(notes: list[dict[str, Any]], now: datetime) -> list[Worker]:
    """The processes that have not recorded that they finished."""
    found = [
        Worker(
            host=note["host"],
            pid=note["pid"],
            started=note["started"],
            last_seen=note["last_seen"],
            is_at_work=(now - note["last_seen"]).total_seconds() < GONE_AFTER_S,
        )
        for note in notes
        if not note["is_finished"]
    ]
    return sorted(found, key=lambda w: w.last_seen, reverse=True)


def _read_commits(run: RunFolder, plan: Plan, commits: CommitTimes) -> bytearray:
    """Add the files of a round to `commits`; for each of its shards 1 if it is committed."""
    is_committed = bytearray(plan.num_shards)
    for entry in run.entries(data_folder(plan.round)):
        match = SHARD_KEY.fullmatch(entry["path"])
        if match and (shard := int(match[2])) < plan.num_shards:
            is_committed[shard] = 1
            commits.add(plan.images_in(shard), entry["size"], entry["last_modified"])
    return is_committed


def _count_open_attempts(run: RunFolder, committed: list[bytearray]) -> list[Counter[int]]:
    """The number of attempts at each open shard, by round."""
    attempts: list[Counter[int]] = [Counter() for _ in committed]
    for match in map(ATTEMPT_KEY.fullmatch, run.keys("_attempts")):
        if match is None:
            continue
        round = int(match[1].removeprefix("retry-").rstrip("/")) if match[1] else 0
        shard = int(match[2])
        if round < len(committed) and shard < len(committed[round]) and not committed[round][shard]:
            attempts[round][shard] += 1
    return attempts


def _round_status(plan: Plan, is_committed: bytearray, attempts: Counter[int]) -> RoundStatus:
    num_committed = sum(is_committed)
    num_images = num_committed * plan.settings.shard_size
    if is_committed[-1]:  # the last shard may be shorter
        num_images += plan.images_in(plan.num_shards - 1) - plan.settings.shard_size
    return RoundStatus(
        round=plan.round,
        codes=plan.codes,
        num_images=plan.num_images,
        num_shards=plan.num_shards,
        num_committed_images=num_images,
        num_committed_shards=num_committed,
        num_started_shards=len(attempts),
        suspects=tuple(sorted(s for s, n in attempts.items() if n >= SUSPECT_FROM_ATTEMPT)),
    )


def _state(
    rounds: tuple[RoundStatus, ...],
    workers: list[Worker],
    root_hash: str | None,
    *,
    was_at_work: bool,
) -> State:
    open_rounds = [r for r in rounds if not r.is_done]
    if not open_rounds:
        return "finalised" if root_hash else "complete"
    if any(worker.is_at_work for worker in workers):
        return "running"
    has_begun = any(r.num_committed_shards or r.num_started_shards for r in open_rounds)
    return "interrupted" if has_begun or was_at_work else "planned"
