"""The manifest of a finished run: every file, what is in it, and one hash over all."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.plan import Plan
from pipelines.run_folder import MANIFEST_KEY, RunFolder, shard_key
from pipelines.schema import ERROR, OK, SCHEMA_VERSION
from possam_core.errors import ConfigError

READ_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedFile:
    """One shard's file, counted."""

    key: str
    sha256: str
    rows: int
    ok: int
    errors: dict[str, int]  # error code -> images


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over all files of a run."""

    images: int
    ok: int
    errors: dict[str, int]  # error code -> images
    segments: int
    things: int
    stuff: int
    mean_score: float | None  # mean over labelled images; None if there is none
    grades: dict[str, int]  # A-D -> images


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a finished run holds."""

    plan_id: str
    schema_version: str
    root_hash: str  # of `sha256sum`'s output over the files, sorted by key
    totals: Totals
    files: tuple[CommittedFile, ...]


def finalise(run: RunFolder, plan: Plan) -> Manifest:
    """Count every file of a complete run, write the manifest and clear the attempts.

    Raises:
        ConfigError: a file is missing, of another plan, or has not exactly the planned rows.
    """
    with ThreadPoolExecutor(READ_THREADS) as pool:
        counted = list(pool.map(lambda shard: _count(run, plan, shard), range(plan.num_shards)))
    files = tuple(file for file, _ in counted)
    manifest = Manifest(
        plan_id=plan.plan_id,
        schema_version=SCHEMA_VERSION,
        root_hash=root_hash(files),
        totals=_add_up(files, [statistics for _, statistics in counted]),
        files=files,
    )
    run.replace(MANIFEST_KEY, json.dumps(asdict(manifest), indent=2).encode())
    run.clear_attempts()
    return manifest


def read_manifest(run: RunFolder) -> Manifest | None:
    """The manifest that `finalise` wrote, or None."""
    content = run.read_json(MANIFEST_KEY)
    if content is None:
        return None
    totals, files = content.pop("totals"), content.pop("files")
    return Manifest(
        **content, totals=Totals(**totals), files=tuple(CommittedFile(**f) for f in files)
    )


def root_hash(files: tuple[CommittedFile, ...]) -> str:
    """sha256 over the lines that `sha256sum` would print for the files, in order of their keys."""
    lines = (f"{f.sha256}  {f.key}\n" for f in sorted(files, key=lambda f: f.key))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _count(run: RunFolder, plan: Plan, shard: int) -> tuple[CommittedFile, pa.Table]:
    """The entry of one file, and per labelled image its quality."""
    key = shard_key(shard)
    data = run.read(key)
    if data is None:
        raise ConfigError(
            f"expected {key} in {run.location}, but it is gone; run the command again"
        )
    table = pq.ParquetFile(pa.BufferReader(data)).read(columns=["status", "error_code", "quality"])
    plan_id = (table.schema.metadata or {}).get(b"plan_id", b"").decode()
    if (plan_id, table.num_rows) != (plan.plan_id, plan.images_in(shard)):
        raise ConfigError(
            f"expected {plan.images_in(shard)} rows of plan {plan.plan_id} in"
            f" {run.location}/{key}, got {table.num_rows} of plan {plan_id or 'unknown'};"
            " delete that file and run the command again"
        )
    is_ok = pc.equal(table["status"], OK)
    codes = Counter(table.filter(pc.equal(table["status"], ERROR))["error_code"].to_pylist())
    entry = CommittedFile(
        key=key,
        sha256=hashlib.sha256(data).hexdigest(),
        rows=table.num_rows,
        ok=table.num_rows - codes.total(),
        errors=dict(sorted(codes.items())),
    )
    return entry, table.filter(is_ok).select(["quality"]).flatten()


def _add_up(files: tuple[CommittedFile, ...], qualities: list[pa.Table]) -> Totals:
    errors: Counter[str] = Counter()
    for file in files:
        errors.update(file.errors)
    quality = pa.concat_tables(qualities)
    things, stuff = (pc.sum(quality[f"quality.num_{k}"]).as_py() or 0 for k in ("things", "stuff"))
    return Totals(
        images=sum(f.rows for f in files),
        ok=sum(f.ok for f in files),
        errors=dict(sorted(errors.items())),
        segments=things + stuff,
        things=things,
        stuff=stuff,
        mean_score=pc.mean(quality["quality.mean_score"]).as_py(),
        grades=dict(sorted(_value_counts(quality["quality.grade"]))),
    )


def _value_counts(column: Any) -> Iterator[tuple[str, int]]:
    for entry in pc.value_counts(column).to_pylist():
        yield entry["values"], entry["counts"]
