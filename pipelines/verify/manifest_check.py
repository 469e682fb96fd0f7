"""Checks the manifest against the files that it counts."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipelines.verify.planned import PlannedRound
from pipelines.verify.shard_file import FileCount

MANIFEST_KEY = "_manifest.json"


@dataclass(slots=True, kw_only=True)
class Recount:
    """Counts of the files read so far; each image counts once, by its newest row."""

    num_images: int  # planned
    files: dict[str, dict[str, Any]] = field(default_factory=dict)  # key -> entry of the manifest
    num_ok: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    num_things: int = 0
    num_stuff: int = 0
    score_sum: float = 0.0
    coverage_sum: float = 0.0
    grades: Counter[str] = field(default_factory=Counter)

    @property
    def num_segments(self) -> int:
        """Things and stuff of all files."""
        return self.num_things + self.num_stuff

    def add(self, count: FileCount) -> None:
        """Add one file, whose rows are new or replace errors."""
        codes = Counter(count.failed.values())
        self.files[count.key] = {
            "sha256": count.sha256,
            "rows": count.num_rows,
            "ok": count.num_ok,
            "errors": dict(codes),
        }
        self.num_ok += count.num_ok
        self.errors += codes
        self.num_things += count.num_things
        self.num_stuff += count.num_stuff
        self.score_sum += count.score_sum
        self.coverage_sum += count.coverage_sum
        self.grades += count.grades

    def totals(self) -> dict[str, Any]:
        """The `totals` that the manifest must have."""
        return {
            "images": self.num_images,
            "ok": self.num_ok,
            "errors": dict(+self.errors),
            "segments": self.num_segments,
            "things": self.num_things,
            "stuff": self.num_stuff,
            "mean_score": self.score_sum / self.num_ok if self.num_ok else None,
            "grades": dict(self.grades),
            "mean_coverage": self.coverage_sum / self.num_ok if self.num_ok else None,
        }


def manifest_problems(data: bytes, planned: PlannedRound, recount: Recount) -> Iterator[str]:
    """The differences between the manifest `data` and `recount` of a run, `planned` first."""
    try:
        manifest = json.loads(data)
        entries = {entry["key"]: entry for entry in manifest["files"]}
        yield from _head_problems(manifest, planned, entries)
        yield from _file_problems(entries, recount.files)
        yield from _total_problems(manifest["totals"], recount.totals())
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        yield f"{MANIFEST_KEY}: is no manifest ({reason})"


def _head_problems(
    manifest: dict[str, Any], planned: PlannedRound, entries: dict[str, Any]
) -> Iterator[str]:
    if len(entries) != len(manifest["files"]):
        yield f"{MANIFEST_KEY}: lists a file twice"
    lines = "".join(f"{entries[key]['sha256']}  {key}\n" for key in sorted(entries))
    expected = {
        "plan_id": planned.plan_id,
        "schema_version": planned.row_version,
        "root_hash": hashlib.sha256(lines.encode()).hexdigest(),
    }
    for name, value in expected.items():
        if manifest[name] != value:
            yield f"{MANIFEST_KEY}: {name} is {manifest[name]}, expected {value}"


def _file_problems(
    entries: dict[str, dict[str, Any]], files: dict[str, dict[str, Any]]
) -> Iterator[str]:
    for key in sorted(files.keys() - entries.keys()):
        yield f"{MANIFEST_KEY}: does not list {key}"
    for key in sorted(entries.keys() - files.keys()):
        yield f"{MANIFEST_KEY}: lists {key}, which the run does not have"
    for key in sorted(entries.keys() & files.keys()):
        for name, value in files[key].items():
            claimed = entries[key][name]
            if claimed != value:
                yield f"{MANIFEST_KEY}: {name} of {key} is {claimed}, the file has {value}"


def _total_problems(totals: dict[str, Any], expected: dict[str, Any]) -> Iterator[str]:
    for name, value in expected.items():
        if name == "mean_coverage" and name not in totals:
            continue  # a manifest from before
        if not _is_same(totals[name], value):
            yield f"{MANIFEST_KEY}: totals.{name} is {totals[name]}, the files have {value}"


def _is_same(claimed: Any, found: Any) -> bool:
    # A mean of millions differs in its last digits with the order of summing.
    if isinstance(claimed, float) and isinstance(found, float):
        return math.isclose(claimed, found, rel_tol=1e-9)
    return bool(claimed == found)
