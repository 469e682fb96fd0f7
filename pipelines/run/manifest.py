"""The manifest of a finished run: the counts of every file, and one hash over all."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines.run.folder import MANIFEST_KEY, RunFolder
from pipelines.run.plan import Plan


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
    mean_coverage: float | None = None  # as the mean score; None also in an older manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a finished run holds."""

    plan_id: str
    schema_version: str
    root_hash: str  # sha256 of `sha256sum`'s output for the files, sorted by key
    totals: Totals
    files: tuple[CommittedFile, ...]


def read_manifest(run: RunFolder) -> Manifest | None:
    """The manifest that `finalise` wrote, or None."""
    content = run.read_json(MANIFEST_KEY)
    if content is None:
        return None
    totals, files = content.pop("totals"), content.pop("files")
    return Manifest(
        **content, totals=Totals(**totals), files=tuple(CommittedFile(**f) for f in files)
    )


def current_manifest(run: RunFolder, rounds: Sequence[Plan]) -> Manifest | None:
    """The manifest, if it counts the files of all `rounds`; None if there is none or an older."""
    manifest = read_manifest(run)
    num_files = sum(plan.num_shards for plan in rounds)
    return manifest if manifest and len(manifest.files) == num_files else None


def root_hash(files: Iterable[CommittedFile]) -> str:
    """sha256 over the lines that `sha256sum` would print for the files, in order of their keys."""
    lines = (f"{f.sha256}  {f.key}\n" for f in sorted(files, key=lambda f: f.key))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
