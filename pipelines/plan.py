"""The plan: the frozen list of images, cut into shards, and the settings it was made for."""

import hashlib
import io
import json
import logging
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.inputs import InputImage
from pipelines.run_folder import PLAN_KEY, RunFolder
from pipelines.schema import PLAN_SCHEMA, SCHEMA_VERSION
from possam_core.errors import ConfigError

logger = logging.getLogger(__name__)

SHARDS_A_PART = 64  # one row group a shard, so a worker finds its rows without a search
DISTRIBUTIONS = ("possam", "torch", "pillow", "pyarrow", "ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """What the labels of a run depend on; a run folder holds one set of these."""

    images: str  # normalised address of the corpus
    model: str  # its name or path, for the reader
    model_sha256: str
    vocabulary: str  # its name, for the reader
    vocabulary_sha256: str
    shard_size: int

    def differences(self, other: "PlanSettings") -> list[str]:
        """One phrase for each setting in which `other` would give other labels."""
        found = []
        if self.images != other.images:
            found.append(f"images {self.images} -> {other.images}")
        for name in ("model", "vocabulary"):
            mine, theirs = (getattr(s, f"{name}_sha256") for s in (self, other))
            if mine != theirs:
                found.append(
                    f"{name} {getattr(self, name)} ({mine[:8]})"
                    f" -> {getattr(other, name)} ({theirs[:8]})"
                )
        if self.shard_size != other.shard_size:
            found.append(f"shard_size {self.shard_size} -> {other.shard_size}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Head of a frozen plan; the images themselves are in its part files."""

    plan_id: str  # from the settings and every planned image
    settings: PlanSettings
    num_images: int
    num_shards: int

    def images_in(self, shard: int) -> int:
        """How many images a shard holds; all but the last are full."""
        size = self.settings.shard_size
        return min(size, self.num_images - shard * size)


def freeze_plan(run: RunFolder, settings: PlanSettings, images: list[InputImage]) -> Plan:
    """Write the plan for good; the appearance of `plan.json`, last of all, is its commit.

    Raises:
        ConfigError: the folder holds an unfinished plan of other images, or a plan meanwhile.
    """
    size = settings.shard_size
    num_shards = -(-len(images) // size)
    digest = hashlib.sha256()
    parts = []
    for first in range(0, num_shards, SHARDS_A_PART):
        key = part_key(first)
        rows = images[first * size : (first + SHARDS_A_PART) * size]
        data = _part_bytes(rows, first_shard=first, shard_size=size)
        if not run.put_new(key, data) and run.read(key) != data:
            raise ConfigError(
                f"expected an empty run folder, but {run.location}/{key} lists other images;"
                " delete its _plan folder or choose another --output"
            )
        digest.update(data)
        parts.append({"key": key, "sha256": hashlib.sha256(data).hexdigest(), "rows": len(rows)})
    labels_depend_on = [settings.images, settings.model_sha256, settings.vocabulary_sha256, size]
    digest.update(json.dumps(labels_depend_on).encode())
    content = {
        "plan_id": digest.hexdigest()[:16],
        "schema_version": SCHEMA_VERSION,
        "settings": asdict(settings),
        "versions": {name: version(name) for name in DISTRIBUTIONS},
        "num_images": len(images),
        "num_shards": num_shards,
        "shard_size": size,
        "parts": parts,
    }
    run.put_new(PLAN_KEY, json.dumps(content, indent=2).encode())
    plan = load_plan(run)
    assert plan is not None
    refuse_other_settings(run, plan, settings)  # another run may have committed its plan first
    return plan


def load_plan(run: RunFolder) -> Plan | None:
    """The head of the folder's plan, or None if it has none."""
    content = run.read_json(PLAN_KEY)
    return None if content is None else _parse_plan(run, content)


def refuse_other_settings(run: RunFolder, plan: Plan, settings: PlanSettings) -> None:
    """Return only if `settings` give the labels that `plan` is about.

    Raises:
        ConfigError: they differ; the message lists how.
    """
    if differences := plan.settings.differences(settings):
        raise ConfigError(
            f"expected the settings of the plan in {run.location}, got others:"
            f" {'; '.join(differences)}; choose another --output or the planned settings"
        )


def part_key(shard: int) -> str:
    """The part file that lists the images of `shard`."""
    return f"_plan/part-{shard // SHARDS_A_PART:05d}.parquet"


def read_shard(run: RunFolder, shard: int) -> list[InputImage]:
    """The planned images of one shard, in plan order.

    Raises:
        ConfigError: the part file is gone.
    """
    data = run.read(part_key(shard))
    if data is None:
        raise ConfigError(f"expected {part_key(shard)} in {run.location}, found none; restore it")
    table = pq.ParquetFile(pa.BufferReader(data)).read_row_group(shard % SHARDS_A_PART)
    return [
        InputImage(image_id=r["image_id"], uri=r["uri"], size=r["size"], etag=r["etag"])
        for r in table.to_pylist()
    ]


def _part_bytes(images: list[InputImage], *, first_shard: int, shard_size: int) -> bytes:
    numbers = range(len(images))
    columns = {
        "image_id": [i.image_id for i in images],
        "uri": [i.uri for i in images],
        "size": [i.size for i in images],
        "etag": [i.etag for i in images],
        "shard": [first_shard + n // shard_size for n in numbers],
        "position": [n % shard_size for n in numbers],
    }
    stream = io.BytesIO()
    pq.write_table(
        pa.table(columns, schema=PLAN_SCHEMA), stream, row_group_size=shard_size, compression="zstd"
    )
    return stream.getvalue()


def _parse_plan(run: RunFolder, content: Any) -> Plan:
    try:
        return Plan(
            plan_id=content["plan_id"],
            settings=PlanSettings(**content["settings"]),
            num_images=content["num_images"],
            num_shards=content["num_shards"],
        )
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"expected a plan of schema {SCHEMA_VERSION} in {run.location}/{PLAN_KEY}, but it"
            f" lacks or adds something ({error}); use the version of possam that made it"
        ) from error
