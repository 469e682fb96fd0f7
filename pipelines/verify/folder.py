"""Finds objects in a run folder that are not part of the run."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pipelines.run.folder import RunFolder
from pipelines.storage.addresses import is_s3, split_s3
from pipelines.verify.planned import PlannedRound, one_line

SHARD_FILE = re.compile(r"data(?:-retry-(\d+))?/.*/shard-(\d+)\.parquet")
# Probes and drafts of a retry are deleted at once, unless the process that wrote them was killed.
OTHERS = re.compile(
    r"_manifest\.json"
    r"|_plan/duplicates-\d{5,}\.parquet|_plan/vocabulary\.json"
    r"|_plan/retry-\d{3,}/[0-9a-f]{8}/part-\d{5,}\.parquet"
    r"|corrections/\d{5,}-\d{8}T\d{6}Z\.parquet"
    r"|_attempts/(retry-\d{3,}/)?shard-\d{8,}/\d+"
    r"|_runs/[^/]+\.json|_runs/probe-[0-9a-f]{32}"
    r"|(stats|report|export|table)/.+"  # derived, of any name
)


def foreign_objects(run: RunFolder, rounds: list[PlannedRound]) -> Iterator[str]:
    """Objects that belong neither to the plan nor to the layout of a run folder."""
    planned = {r.head_key for r in rounds} | {p["key"] for r in rounds for p in r.parts}
    for key in run.keys(""):
        if not (OTHERS.fullmatch(key) or key in planned or _is_shard_file(key, rounds)):
            yield f"{key}: is no part of this run"


def open_uploads(location: str) -> Iterator[str]:
    """Multipart uploads that were never finished: not in listings, but stored and paid for."""
    if not is_s3(location):
        return
    from botocore.exceptions import BotoCoreError, ClientError  # of the extra [s3]

    bucket, prefix = split_s3(location)
    root = f"{prefix}/" if prefix else ""
    try:
        for upload in _uploads(bucket, root):
            key = upload["Key"].removeprefix(root)
            yield f"{key}: has an unfinished upload ({upload['UploadId']}); abort it"
    except (BotoCoreError, ClientError, OSError) as error:
        yield f"{location}: its unfinished uploads cannot be listed ({one_line(error)})"


def _is_shard_file(key: str, rounds: list[PlannedRound]) -> bool:
    match = SHARD_FILE.fullmatch(key)
    if match is None:
        return False
    number, shard = int(match[1] or 0), int(match[2])
    return (
        number < len(rounds)
        and shard < rounds[number].num_shards
        and key == rounds[number].file_key(shard)
    )


def _uploads(bucket: str, prefix: str) -> Iterable[dict[str, Any]]:
    import fsspec

    filesystem = fsspec.filesystem("s3")
    next_page: dict[str, str] = {}
    while True:
        page = filesystem.call_s3(
            "list_multipart_uploads", Bucket=bucket, Prefix=prefix, **next_page
        )
        yield from page.get("Uploads", [])
        if not page.get("IsTruncated"):
            return
        next_page = {
            "KeyMarker": page["NextKeyMarker"],
            "UploadIdMarker": page["NextUploadIdMarker"],
        }
