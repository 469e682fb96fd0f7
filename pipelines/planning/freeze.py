"""Freezes a plan: streams the images of a source into part files, divided into shards."""

import hashlib
import io
import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.planning.candidates import CANDIDATE_SCHEMA, Candidates, drop
from pipelines.run.classes import FrozenVocabulary
from pipelines.run.folder import (
    PLAN_FOLDER,
    SCHEMA_VERSION,
    RunFolder,
    dropped_part_key,
    plan_key,
    plan_part_key,
)
from pipelines.run.parts import SHARDS_A_PART
from pipelines.run.plan import FOR_PEOPLE, Plan, PlanSettings, load_plan, refuse_other_settings
from pipelines.schema import PLAN_SCHEMA
from possam_core.ahead import run_ahead
from possam_core.errors import ConfigError

logger = logging.getLogger(__name__)

DISTRIBUTIONS = ("possam", "torch", "pillow", "pyarrow", "ray")
WRITE_THREADS = 8
DROPPED_A_PART = 1_000_000

DROPPED_SCHEMA = pa.schema(
    [*(f for f in CANDIDATE_SCHEMA if f.name != "image_id"), pa.field("reason", pa.string())]
)


def freeze_plan(
    run: RunFolder,
    settings: PlanSettings,
    batches: Iterable[pa.RecordBatch],
    *,
    vocabulary: FrozenVocabulary | None = None,
    on_listed: Callable[[int], None] = lambda _: None,
) -> Plan:
    """Write the plan, which never changes afterwards; `plan.json`, written last, is its commit.

    Images that repeat an earlier one, by address or by content, are not planned but listed in
    files of their own. Memory is that of a few parts, for any number of images.

    Args:
        run: without a plan, or with an unfinished one of the same images.
        settings: what is planned; `limit`, `sample` and `since` choose among the images.
        batches: of `schema.INPUT_SCHEMA`.
        vocabulary: kept beside the plan; None: readers know only the classes in the run's rows.
        on_listed: called now and then with the number of images listed so far.

    Raises:
        ConfigError: no image is left, or the folder has an unfinished plan of other images, or
            another process has written another plan.
    """
    since = None if settings.since is None else datetime.fromisoformat(settings.since)
    with (
        tempfile.TemporaryDirectory(prefix="possam-plan-") as folder,
        closing(Candidates(Path(folder), sample=settings.sample, since=since)) as candidates,
    ):
        dropped = _take(candidates, batches, settings.limit, on_listed)
        num_dropped = {reason: len(rows) for reason, rows in dropped.items()}
        if candidates.num_candidates == sum(num_dropped.values()):
            raise ConfigError(
                f"expected at least one image to plan, but none of the {candidates.num_listed:,} in"
                f" {settings.images} is left; widen --sample or --since"
            )
        _write_dropped(run, candidates, dropped)
        kept = (drop(batch, first, dropped.values()) for first, batch in candidates.batches())
        parts = write_parts(run, kept, shard_size=settings.shard_size, limit=settings.limit)
    names = ("model", "vocabulary", "vocabulary_source", *FOR_PEOPLE)  # their hashes count
    labels_depend_on = {k: v for k, v in asdict(settings).items() if k not in names}
    parts.digest.update(json.dumps(labels_depend_on, sort_keys=True).encode())
    head = {
        "plan_id": parts.digest.hexdigest()[:16],
        "schema_version": SCHEMA_VERSION,
        "round": 0,
        "codes": [],
        "settings": asdict(settings),
        "versions": {name: version(name) for name in DISTRIBUTIONS},
        "dropped": num_dropped,
        **parts.to_json(settings.shard_size),
    }
    if vocabulary is not None:
        vocabulary.freeze(run)
    run.put_new(plan_key(0), json.dumps(head, indent=2).encode())
    plan = load_plan(run)
    assert plan is not None
    refuse_other_settings(run, plan, settings)  # another run may have committed its plan first
    return plan


@dataclass(slots=True)
class WrittenParts:
    """Part files of a plan that is being frozen."""

    digest: Any  # hashlib's, over the bytes of all files
    files: list[dict[str, Any]]
    num_images: int = 0

    def to_json(self, shard_size: int) -> dict[str, Any]:
        """The head of the plan."""
        return {
            "num_images": self.num_images,
            "num_shards": -(-self.num_images // shard_size),
            "shard_size": shard_size,
            "parts": self.files,
        }


def write_parts(
    run: RunFolder,
    batches: Iterable[pa.RecordBatch],
    *,
    shard_size: int,
    folder: str = PLAN_FOLDER,
    limit: int | None = None,
) -> WrittenParts:
    """Divide `batches` of images into shards, and write these to part files in `folder`.

    Raises:
        ConfigError: the folder has an unfinished plan of other images.
    """
    written = WrittenParts(hashlib.sha256(), [])
    part_rows = SHARDS_A_PART * shard_size

    def write(part: tuple[int, pa.Table]) -> tuple[str, bytes, int]:
        number, rows = part
        place = (number * part_rows, shard_size)
        return _write_part(run, plan_part_key(number, folder), rows, place)

    with ThreadPoolExecutor(WRITE_THREADS) as pool:
        parts = enumerate(_cut(batches, part_rows, limit))
        for key, data, num_rows in run_ahead(pool, write, parts, WRITE_THREADS):
            written.digest.update(data)
            sha256 = hashlib.sha256(data).hexdigest()
            written.files.append({"key": key, "sha256": sha256, "rows": num_rows})
            written.num_images += num_rows
    return written


def _take(
    candidates: Candidates,
    batches: Iterable[pa.RecordBatch],
    limit: int | None,
    on_listed: Callable[[int], None],
) -> dict[str, np.ndarray]:
    """Add images until `limit` of them can be planned; returns those that cannot."""
    goal = limit or 0
    for batch in batches:
        candidates.add(batch)
        on_listed(candidates.num_listed)
        if limit is not None and candidates.num_candidates >= goal:
            dropped = candidates.repeated()
            if candidates.num_candidates - sum(map(len, dropped.values())) >= limit:
                return dropped
            goal *= 2
    return candidates.repeated()


def _cut(batches: Iterable[pa.RecordBatch], num_rows: int, limit: int | None) -> Iterator[pa.Table]:
    """The first `limit` rows in tables of `num_rows`; the last may be shorter."""
    waiting: list[pa.RecordBatch] = []
    num_waiting, num_left = 0, limit
    for batch in batches:
        if num_left is not None:
            batch = batch.slice(0, num_left)
            num_left -= batch.num_rows
        waiting.append(batch)
        num_waiting += batch.num_rows
        while num_waiting >= num_rows:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, num_rows)
            waiting = table.slice(num_rows).to_batches()
            num_waiting -= num_rows
        if num_left == 0:
            break
    if num_waiting:
        yield pa.Table.from_batches(waiting)


def _write_part(
    run: RunFolder, key: str, rows: pa.Table, place: tuple[int, int]
) -> tuple[str, bytes, int]:
    """Write one part; `place` is the number of its first row, and the size of a shard."""
    first_row, shard_size = place
    numbers = first_row + np.arange(rows.num_rows)
    table = rows.append_column("shard", pa.array(numbers // shard_size, pa.int32()))
    table = table.append_column("position", pa.array(numbers % shard_size, pa.int32()))
    data = _parquet(table.cast(PLAN_SCHEMA), row_group_size=shard_size)
    if not run.put_new(key, data) and run.read(key) != data:
        raise ConfigError(
            f"expected an empty run folder, but {run.location}/{key} lists other images;"
            f" delete its folder {key.rpartition('/')[0]} or choose another --output"
        )
    return key, data, rows.num_rows


def _write_dropped(run: RunFolder, candidates: Candidates, dropped: dict[str, np.ndarray]) -> None:
    """Write lists of the images that are not planned, with the reasons."""
    if not any(map(len, dropped.values())):
        return
    for i, table in enumerate(_cut(_dropped_rows(candidates, dropped), DROPPED_A_PART, None)):
        run.replace(dropped_part_key(i), _parquet(table))


def _dropped_rows(
    candidates: Candidates, dropped: dict[str, np.ndarray]
) -> Iterator[pa.RecordBatch]:
    for first, batch in candidates.batches():
        for reason, rows in dropped.items():
            low, high = np.searchsorted(rows, (first, first + batch.num_rows))
            if low < high:
                chosen = batch.take(pa.array(rows[low:high] - first)).drop_columns(["image_id"])
                reasons = pa.array([reason] * chosen.num_rows)
                yield pa.record_batch([*chosen.columns, reasons], schema=DROPPED_SCHEMA)


def _parquet(table: pa.Table, *, row_group_size: int | None = None) -> bytes:
    stream = io.BytesIO()
    pq.write_table(
        table,
        stream,
        row_group_size=row_group_size,
        compression="zstd",
        use_dictionary=[n for n in ("container", "reason") if n in table.column_names],
    )
    return stream.getvalue()
