"""Reads the plan of a run: the images of each file, in the order of its rows."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64
from numpy import ndarray

from pipelines.run.folder import SCHEMA_VERSION, SCHEMA_VERSIONS, RunFolder
from pipelines.schema import PLAN_SCHEMA
from possam_core.errors import ConfigError

SHARDS_A_FOLDER = 1000
UNREADABLE = (pa.ArrowException, ValueError, OSError)  # raised by reading a damaged Parquet file


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRound:
    """The corpus (round 0), or one retry of failed images."""

    number: int
    head_key: str
    plan_id: str
    schema_version: str
    num_images: int
    num_shards: int
    shard_size: int
    parts: list[dict[str, Any]]  # key, sha256 and rows of each

    def file_key(self, shard: int) -> str:
        """The key that the file of a shard must have."""
        folder = f"data-retry-{self.number:03d}" if self.number else "data"
        return f"{folder}/g={shard // SHARDS_A_FOLDER:04d}/shard-{shard:08d}.parquet"

    @property
    def row_version(self) -> str:
        """The version that its files must have: the head's, if that exists."""
        return self.schema_version if self.schema_version in SCHEMA_VERSIONS else SCHEMA_VERSION

    def problems(self, first: "PlannedRound") -> Iterator[str]:
        """The contradictions in the head, and with that of the `first` round."""
        if self.plan_id != first.plan_id:
            yield f"{self.head_key}: plan_id is {self.plan_id}, expected {first.plan_id}"
        versions = (first.row_version,) if self.number else SCHEMA_VERSIONS
        if self.schema_version not in versions:
            yield (
                f"{self.head_key}: schema_version is {self.schema_version}, expected"
                f" {' or '.join(versions)}"
            )
        rows = sum(part["rows"] for part in self.parts)
        if rows != self.num_images:
            yield f"{self.head_key}: plans {self.num_images} images, its parts list {rows}"
        num_shards = -(-self.num_images // self.shard_size)
        if num_shards != self.num_shards:
            yield (
                f"{self.head_key}: plans {self.num_shards} shards, but {self.num_images} images"
                f" at {self.shard_size} a shard are {num_shards}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedShard:
    """One file that must exist, and the images that it must have."""

    key: str
    index: int
    round: PlannedRound
    images: pa.Table  # of `schema.PLAN_SCHEMA`, in order

    @property
    def image_ids(self) -> list[str]:
        """The ids of its images, in order."""
        return cast(list[str], self.images["image_id"].to_pylist())


@dataclass(slots=True, kw_only=True)
class PlannedPart:
    """One part file, read."""

    shards: list[PlannedShard] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    is_readable: bool = True


def read_rounds(run: RunFolder) -> list[PlannedRound]:
    """The heads of the plan and of all retries, in order; empty if the folder has no plan.

    Raises:
        ConfigError: a head cannot be parsed, so there is nothing to check against.
    """
    rounds: list[PlannedRound] = []
    key = "_plan/plan.json"
    while (data := run.read(key)) is not None:
        try:
            rounds.append(_parse_head(key, len(rounds), json.loads(data)))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"expected a plan in {run.location}/{key}, but it lacks"
                f" or adds something ({error}); restore it from a copy"
            ) from error
        key = f"_plan/retry-{len(rounds):03d}.json"
    return rounds


def read_parts(run: RunFolder, planned: PlannedRound) -> Iterator[PlannedPart]:
    """Each part of a round, one at a time, in order."""
    first_row = 0
    for entry in planned.parts:
        yield _read_part(run, planned, entry, first_row)
        first_row += entry["rows"]


def repeated_images(
    run: RunFolder, planned: PlannedRound, hashes: Int64[ndarray, " N"]
) -> Iterator[str]:
    """Images that are planned more than once; `hashes` are Python's, of all their ids."""
    ordered = np.sort(hashes)
    suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not suspects:
        return
    shards = (shard for part in read_parts(run, planned) for shard in part.shards)
    ids = Counter(i for shard in shards for i in shard.image_ids if hash(i) in suspects)
    for image_id, number in ids.items():
        if number > 1:
            yield f"{planned.head_key}: image {image_id} is planned {number} times"


def _parse_head(key: str, number: int, content: Any) -> PlannedRound:
    sizes = {name: int(content[name]) for name in ("num_images", "num_shards", "shard_size")}
    if sizes["shard_size"] < 1:
        raise ValueError(f"shard_size {sizes['shard_size']}")
    return PlannedRound(
        number=number,
        head_key=key,
        plan_id=content["plan_id"],
        schema_version=content["schema_version"],
        **sizes,
        parts=[
            {"key": p["key"], "sha256": p["sha256"], "rows": int(p["rows"])}
            for p in content["parts"]
        ],
    )


def _read_part(
    run: RunFolder, planned: PlannedRound, entry: dict[str, Any], first_row: int
) -> PlannedPart:
    key, data = entry["key"], run.read(entry["key"])
    if data is None:
        problem = f"{key}: is missing, so its {entry['rows']} images cannot be checked"
        return PlannedPart(problems=[problem], is_readable=False)
    part = PlannedPart()
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        part.problems.append(f"{key}: has another sha256 than {planned.head_key} says")
    try:
        images = pq.ParquetFile(pa.BufferReader(data)).read()
        images.validate(full=True)
    except UNREADABLE as error:
        part.problems.append(f"{key}: cannot be read ({one_line(error)})")
        part.is_readable = False
        return part
    if not images.schema.equals(PLAN_SCHEMA):
        part.problems.append(f"{key}: has other columns than a list of planned images")
        part.is_readable = False
        return part
    part.problems += _part_problems(planned, entry, images, first_row)
    size = planned.shard_size
    part.shards = [
        PlannedShard(
            key=planned.file_key((first_row + row) // size),
            index=(first_row + row) // size,
            round=planned,
            images=images.slice(row, size),
        )
        for row in range(0, images.num_rows, size)
    ]
    return part


def _part_problems(
    planned: PlannedRound, entry: dict[str, Any], images: pa.Table, first_row: int
) -> Iterator[str]:
    if images.num_rows != entry["rows"]:
        yield (
            f"{entry['key']}: holds {images.num_rows} images, {planned.head_key} says"
            f" {entry['rows']}"
        )
    numbers = first_row + np.arange(images.num_rows)
    places = zip(("shard", "position"), np.divmod(numbers, planned.shard_size), strict=True)
    for name, expected in places:
        wrong = np.flatnonzero(images[name].to_numpy() != expected)
        if wrong.size:
            row = int(wrong[0])
            yield (
                f"{entry['key']}: image {images['image_id'][row]} has {name} {images[name][row]},"
                f" expected {expected[row]}"
            )


def one_line(error: Exception) -> str:
    """The first line of an error's text, or its name."""
    return str(error).partition("\n")[0] or type(error).__name__
