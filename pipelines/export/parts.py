"""The finished parts of an export: one file for each shard, whose existence is the commit.

The file is gzipped JSON lines: a head, then a record of each image for `join`.
"""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.export.folder import ExportFolder
from pipelines.export.protocol import Record
from possam_core.errors import ConfigError

PARTS_FOLDER = "_export/parts"
PART_KEY = re.compile(PARTS_FOLDER + r"/part-(\d{8,})\.jsonl\.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A labelled image that was not exported because it can no longer be read."""

    image_id: str
    uri: str
    code: str  # of `ImageErrorCode`


@dataclass(frozen=True, slots=True, kw_only=True)
class PartHead:
    """How much of a shard was exported."""

    num_images: dict[str, int]  # by split
    num_segments: int
    num_corrected: int  # images that people have corrected
    left_out: tuple[LeftOut, ...]


def part_key(unit: int) -> str:
    """The key of a shard's part."""
    return f"{PARTS_FOLDER}/part-{unit:08d}.jsonl.gz"


def committed_parts(folder: ExportFolder) -> list[int]:
    """The shards whose export is finished, in order; one listing."""
    return sorted(int(m[1]) for k in folder.keys(PARTS_FOLDER) if (m := PART_KEY.fullmatch(k)))


def part_bytes(head: PartHead, records: list[tuple[str, Record]]) -> bytes:
    """The file of a part; the same content gives the same bytes."""
    lines = [asdict(head), *records]
    text = "".join(json.dumps(x, ensure_ascii=False, separators=(",", ":")) + "\n" for x in lines)
    return gzip.compress(text.encode(), compresslevel=1, mtime=0)


def read_head(folder: ExportFolder, unit: int) -> PartHead:
    """The head of a shard's part."""
    content = next(_lines(folder, unit))
    content["left_out"] = tuple(LeftOut(**image) for image in content["left_out"])
    return PartHead(**content)


def read_records(folder: ExportFolder, units: list[int]) -> Iterator[tuple[str, Record]]:
    """Split and record of each image of these shards; one part in memory at a time."""
    for unit in units:
        lines = _lines(folder, unit)
        next(lines)
        yield from lines


def _lines(folder: ExportFolder, unit: int) -> Iterator[Any]:
    data = folder.read(part_key(unit))
    if data is None:
        raise ConfigError(
            f"expected {part_key(unit)} in {folder.location}, but it was deleted during the export;"
            " run the same command again"
        )
    return map(json.loads, gzip.decompress(data).decode().splitlines())
