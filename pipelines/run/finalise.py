"""Counts every file of a complete run and writes the manifest."""

import hashlib
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.run.folder import MANIFEST_KEY, RunFolder, shard_key
from pipelines.run.manifest import CommittedFile, Manifest, Totals, root_hash
from pipelines.run.newest import NewerImages
from pipelines.run.parts import read_shard
from pipelines.run.plan import Plan, load_rounds
from pipelines.schema import ERROR, OK
from possam_core.errors import ConfigError

READ_THREADS = 8


def finalise(run: RunFolder) -> Manifest:
    """Count every file of a complete run, write the manifest and remove the attempt markers.

    Raises:
        ConfigError: a file is missing, of another plan, or without exactly the planned rows.
    """
    rounds = load_rounds(run)
    files: list[CommittedFile] = []
    sums = _Sums()
    newer = NewerImages()
    for plan in reversed(rounds):
        count = partial(_count, run, plan, newer)
        with ThreadPoolExecutor(READ_THREADS) as pool:
            counted = list(pool.map(count, range(plan.num_shards)))
        files = [file for file, _ in counted] + files
        for _, shard_sums in counted:
            sums.add(shard_sums)
        if plan.round:
            newer.add(_image_ids(run, plan))
    manifest = Manifest(
        plan_id=rounds[0].plan_id,
        schema_version=rounds[0].schema_version,
        root_hash=root_hash(files),
        totals=sums.totals(),
        files=tuple(files),
    )
    run.replace(MANIFEST_KEY, json.dumps(asdict(manifest), indent=2).encode())
    run.clear_attempts()
    return manifest


@dataclass(slots=True)
class _Sums:
    """Sums, the same in any order."""

    num_images: int = 0
    ok: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    things: int = 0
    stuff: int = 0
    score: float = 0.0  # sum of the labelled images' mean scores
    coverage: float = 0.0  # sum of theirs
    grades: Counter[str] = field(default_factory=Counter)

    def add(self, other: "_Sums") -> None:
        for name in (
            "num_images",
            "ok",
            "errors",
            "things",
            "stuff",
            "score",
            "coverage",
            "grades",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def totals(self) -> Totals:
        return Totals(
            images=self.num_images,
            ok=self.ok,
            errors=dict(sorted(self.errors.items())),
            segments=self.things + self.stuff,
            things=self.things,
            stuff=self.stuff,
            mean_score=self.score / self.ok if self.ok else None,
            grades=dict(sorted(self.grades.items())),
            mean_coverage=self.coverage / self.ok if self.ok else None,
        )


def _count(
    run: RunFolder, plan: Plan, newer: NewerImages, shard: int
) -> tuple[CommittedFile, _Sums]:
    """The entry of one file, and the sums over its rows that count."""
    key = shard_key(shard, plan.round)
    data = run.read(key)
    if data is None:
        raise ConfigError(
            f"expected {key} in {run.location}, but it is gone; run the command again"
        )
    columns = ["image_id", "status", "error_code", "quality"]
    table = pq.ParquetFile(pa.BufferReader(data)).read(columns=columns)
    plan_id = (table.schema.metadata or {}).get(b"plan_id", b"").decode()
    if (plan_id, table.num_rows) != (plan.plan_id, plan.images_in(shard)):
        raise ConfigError(
            f"expected {plan.images_in(shard)} rows of plan {plan.plan_id} in"
            f" {run.location}/{key}, got {table.num_rows} of plan {plan_id or 'unknown'};"
            " delete that file and run the command again"
        )
    errors = _errors(table)
    entry = CommittedFile(
        key=key,
        sha256=hashlib.sha256(data).hexdigest(),
        rows=table.num_rows,
        ok=table.num_rows - errors.total(),
        errors=dict(sorted(errors.items())),
    )
    return entry, _add_up(newer.without(table))


def _add_up(rows: pa.Table) -> _Sums:
    quality = rows.filter(pc.equal(rows["status"], OK)).select(["quality"]).flatten()
    things, stuff, score, coverage = (
        pc.sum(quality[f"quality.{name}"].cast(kind)).as_py() or 0
        for name, kind in (
            ("num_things", "int64"),
            ("num_stuff", "int64"),
            ("mean_score", "float64"),
            ("coverage", "float64"),
        )
    )
    return _Sums(
        num_images=rows.num_rows,
        ok=quality.num_rows,
        errors=_errors(rows),
        things=things,
        stuff=stuff,
        score=score,
        coverage=coverage,
        grades=Counter(quality["quality.grade"].to_pylist()),
    )


def _errors(rows: pa.Table) -> Counter[str]:
    return Counter(rows.filter(pc.equal(rows["status"], ERROR))["error_code"].to_pylist())


def _image_ids(run: RunFolder, plan: Plan) -> list[pa.Array]:
    shards = (read_shard(run, shard, plan.parts_folder) for shard in range(plan.num_shards))
    return [pa.array([image.image_id for image in images], pa.string()) for images in shards]
