"""Runs of the product as a user starts them, and what must be true when they have ended."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from pipelines.label.session import LabelReport, run_label
from pipelines.run.folder import ATTEMPT_KEY, MANIFEST_KEY, RunFolder
from pipelines.settings.label import LabelConfig
from pipelines.verify import verify_run
from tests.chaos.ceph import Ceph
from tests.chaos.stand_in import Orders, loader

DRIVE = (sys.executable, "-m", "tests.chaos.drive")
NUM_WORKERS = 2
PATIENCE_S = 120.0  # until a test gives up on a process
WORKER_TITLE = "ray::MapWorker"  # how Ray names a process that holds a model
TWICE = re.compile(r"([\d,]+) of them another run had committed first")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A corpus, and how an undisturbed run of it ended."""

    config: LabelConfig
    num_images: int
    num_shards: int
    root_hash: str
    seconds: float  # by the clock, with the start of the workers


def make_reference(ceph: Ceph, files: Mapping[str, bytes], *, shard_size: int) -> Reference:
    """Upload `files` and label them in peace."""
    bucket = ceph.make_bucket()
    ceph.upload(f"s3://{bucket}/images", files)
    config = LabelConfig(
        images=f"s3://{bucket}/images",
        output=f"s3://{bucket}/run",
        num_workers=NUM_WORKERS,
        shard_size=shard_size,
    )
    report = label(config)
    assert report.manifest is not None, report.open_shards
    assert report.manifest.totals.ok == len(files)
    return Reference(
        config=config,
        num_images=len(files),
        num_shards=report.num_shards,
        root_hash=report.manifest.root_hash,
        seconds=report.seconds,
    )


def label(config: LabelConfig, orders: Orders = Orders()) -> LabelReport:  # noqa: B008 - frozen
    """Run the job in this process, by the stand-in."""
    return run_label(config, console=Console(quiet=True), load_model=loader(orders))


def read_manifest(location: str) -> dict[str, Any]:
    """The manifest as it lies there."""
    content: dict[str, Any] = RunFolder(location).read_json(MANIFEST_KEY)
    assert content is not None, f"{location} has no manifest"
    return content


def read_rows(location: str) -> list[dict[str, Any]]:
    """All rows of a run in S3, in order of their shards."""
    run = RunFolder(location)
    contents = (run.read(key) for key in sorted(run.keys("data")))
    return [
        row for content in contents for row in pq.read_table(pa.BufferReader(content)).to_pylist()
    ]


def require_sound(location: str, reference: Reference) -> None:
    """Return only if the run is complete and holds what an undisturbed one does."""
    assert verify_run(location).problems == []
    assert read_manifest(location)["root_hash"] == reference.root_hash


def num_attempts(ceph: Ceph, location: str) -> int:
    """How often shards of a run have been started."""
    return sum(ATTEMPT_KEY.fullmatch(key) is not None for key in ceph.snapshot(location))


def num_images_twice(output: str) -> int:
    """How many images a finished command says that another had labelled, too."""
    found = TWICE.search(output)
    return 0 if found is None else int(found[1].replace(",", ""))


def worker_processes(ancestor: int | None = None) -> list[psutil.Process]:
    """Those that hold a model below a process, or below this one, and no others."""
    workers = []
    for process in psutil.Process(ancestor).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if " ".join(process.cmdline()).startswith(WORKER_TITLE):
                workers.append(process)
    return workers


@dataclass(frozen=True, slots=True)
class Command:
    """`possam label` in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        """What it has written so far, to stdout and stderr."""
        return self.log.read_text()

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit code, as a shell reports it."""
        code = self.process.wait(timeout_s)
        return 128 - code if code < 0 else code

    def send(self, number: signal.Signals) -> None:
        """Signal the driver alone, not its workers."""
        self.process.send_signal(number)


def start_command(
    config: LabelConfig,
    log: Path,
    orders: Orders = Orders(),  # noqa: B008 - frozen
    *,
    ray_address: str = "",
) -> Command:
    """`possam label` with the settings of `config`, on a cluster of its own unless one is named."""
    settings = {"output": config.output, "shard-size": config.shard_size}
    if config.num_workers is not None:
        settings["num-workers"] = config.num_workers
    options = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    with log.open("ab") as stream:  # a pipe would stay open as long as Ray
        process = subprocess.Popen(
            [*DRIVE, json.dumps(asdict(orders)), "label", config.images, *options],
            env=os.environ | {"RAY_ADDRESS": ray_address},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    return Command(process, log)


def wait_until(is_so: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Return once `is_so`."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"not so after {timeout_s:.0f} s"
        time.sleep(0.05)


def wait_for_commits(ceph: Ceph, location: str, num_shards: float) -> None:
    """Return once a run has at least so many files."""
    wait_until(lambda: len(ceph.labels(location)) >= num_shards)


def elsewhere(reference: Reference, output: str, **changes: Any) -> LabelConfig:
    """The same job into another folder."""
    return replace(reference.config, output=output, **changes)
