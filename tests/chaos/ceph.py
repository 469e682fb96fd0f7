"""A real S3 server of our own, and what tests do to it behind the product's back."""

import subprocess
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import obstore
from obstore.store import S3Store

from pipelines.run.folder import SHARD_KEY
from pipelines.storage.addresses import split_s3

SCRIPT = Path(__file__).with_name("ceph.sh")
UPLOAD_THREADS = 16
KEYS = {"AWS_ACCESS_KEY_ID": "chaos", "AWS_SECRET_ACCESS_KEY": "chaos-secret"}

Snapshot = dict[str, tuple[str | None, datetime]]  # key -> etag and time of the last write


class CephMissing(Exception):
    """The server did not start; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Ceph:
    """A running server; its clients here go past the proxy and its faults."""

    address: str

    def make_bucket(self) -> str:
        """The name of a new bucket."""
        name = f"chaos-{uuid.uuid4().hex[:12]}"
        raw_client(self.address).create_bucket(Bucket=name)
        return name

    def put_anywhere(self, bucket: str, key: str, data: bytes) -> None:
        """Put an object under any key that the server takes, which is more than clients allow."""
        raw_client(self.address).put_object(Bucket=bucket, Key=key, Body=data)

    def upload(self, location: str, files: Mapping[str, bytes]) -> None:
        """Put `files` below `location`, whatever was there."""
        store = self._open(location)
        with ThreadPoolExecutor(UPLOAD_THREADS) as pool:
            list(pool.map(lambda name: obstore.put(store, name, files[name]), files))

    def delete(self, location: str, names: Iterable[str]) -> None:
        """Remove objects below `location`."""
        obstore.delete(self._open(location), list(names))

    def snapshot(self, location: str) -> Snapshot:
        """Everything below `location`, with what distinguishes one write from another."""
        pages = obstore.list(self._open(location))
        return {m["path"]: (m["e_tag"], m["last_modified"]) for page in pages for m in page}

    def labels(self, run: str) -> Snapshot:
        """The committed files of a run."""
        return {k: v for k, v in self.snapshot(run).items() if SHARD_KEY.fullmatch(k)}

    def _open(self, location: str) -> S3Store:
        bucket, prefix = split_s3(location)
        return S3Store(bucket, prefix=prefix or None, endpoint=self.address)


@cache
def raw_client(address: str) -> Any:
    """A client that takes any key; making one takes longer than the request."""
    return botocore.session.get_session().create_client("s3", endpoint_url=address)


@contextmanager
def start_ceph(folder: Path) -> Iterator[Ceph]:
    """A server that lives as long as the context, in memory and below `folder`.

    Raises:
        CephMissing: its packages are not installed, or it did not start.
    """
    started = subprocess.run([SCRIPT, "start", folder], capture_output=True, text=True, check=False)
    if started.returncode:
        raise CephMissing(started.stderr.strip())
    try:
        yield Ceph(started.stdout.strip())
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True)
