"""Changes to a finished run, one at a time, that `possam verify` must report."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.label.rows import shard_bytes
from pipelines.run.folder import draft_folder, plan_key, plan_part_key, shard_key

Rows = list[dict[str, Any]]
PART_KEY = "_plan/part-00000.parquet"


def read_rows(run: Path, shard: int = 0) -> Rows:
    """The rows of a shard's file."""
    return pq.ParquetFile(run / shard_key(shard)).read().to_pylist()


def rewrite(
    run: Path,
    change: Callable[[Rows], object] = len,
    *,
    shard: int = 0,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the file of a shard again, after `change` of its rows, with other metadata."""
    path = run / shard_key(shard)
    found = pq.ParquetFile(path).schema_arrow.metadata
    provenance = {k.decode(): v.decode() for k, v in found.items() if k != b"ARROW:schema"}
    rows = read_rows(run, shard)
    change(rows)
    path.write_bytes(shard_bytes(rows, provenance | dict(metadata or {})))


def rewrite_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write a JSON file again, after `change` of its content."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewrite_part(
    run: Path,
    change: Callable[[pa.Table], pa.Table],
    *,
    sign: bool = False,
    compression: str = "zstd",
) -> None:
    """Write the list of planned images again; with `sign`, also its sha256 in the plan."""
    path = run / PART_KEY
    pq.write_table(change(pq.read_table(path)), path, compression=compression)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if sign:
        rewrite_json(run / plan_key(0), lambda head: head["parts"][0].update(sha256=sha256))


def add_retry(run: Path, rows: Rows, number: int = 1, **head_changes: object) -> Path:
    """Plan a retry of the images of `rows`, and commit these rows; the path of their file."""
    planned = pq.read_table(run / PART_KEY)
    places = {image_id: i for i, image_id in enumerate(planned["image_id"].to_pylist())}
    part = planned.take([places[row["image_id"]] for row in rows])
    for name, values in (("shard", [0] * len(rows)), ("position", range(len(rows)))):
        column = part.schema.get_field_index(name)
        part = part.set_column(column, part.schema.field(name), pa.array(values, pa.int32()))
    part_key = plan_part_key(0, draft_folder(number, ["not_an_image"]))
    part_path, path = run / part_key, run / shard_key(0, number)
    for folder in (part_path.parent, path.parent):
        folder.mkdir(parents=True)
    pq.write_table(part, part_path)
    sha256 = hashlib.sha256(part_path.read_bytes()).hexdigest()
    plan = json.loads((run / plan_key(0)).read_text())
    head = {
        "plan_id": plan["plan_id"],
        "schema_version": plan["schema_version"],
        "round": number,
        "codes": ["not_an_image"],
        "dropped": {},
        "num_images": len(rows),
        "num_shards": 1,
        "shard_size": 3,
        "parts": [{"key": part_key, "sha256": sha256, "rows": len(rows)}],
    }
    (run / plan_key(number)).write_text(json.dumps(head | head_changes))
    path.write_bytes(shard_bytes(rows, {"plan_id": plan["plan_id"], "shard": "0"}))
    return path
