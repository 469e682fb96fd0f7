"""Planning ten million images from a manifest: its time, the memory of the driver, and the time
until the first shard is taken.

The manifest is Parquet with uri, size and etag; one in a thousand rows repeats another. The run is
local, and its job is stopped once the first worker has asked for a shard. Memory is the driver's
resident set, sampled ten times a second, less what it was before. Writes `build/bench/plan.json`.

usage: python -m benchmarks.plan [--num-images N]
"""

import argparse
import os
import platform
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json
from pipelines.label.board import ProgressBoard
from pipelines.label.job import LabelJob, ShardTask, label
from pipelines.planning.prepare import prepare
from pipelines.ray_cluster import ray_cluster
from pipelines.settings.label import LabelConfig

OUTPUT = Path("build/bench/plan.json")
ROWS_A_GROUP = 100_000
SHARD_SIZE = 1024
STATM_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def write_manifest(path: Path, num_images: int) -> None:
    """A manifest like an export of a catalogue."""
    rng = np.random.default_rng(0)
    schema = pa.schema({"uri": pa.string(), "size": pa.int64(), "etag": pa.string()})
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, num_images, ROWS_A_GROUP):
            numbers = np.arange(first, min(first + ROWS_A_GROUP, num_images))
            numbers[::1000] = numbers[0]  # repeats
            uris = [f"s3://corpus/photos/{n // 1000:07d}/{n:010d}.jpg" for n in numbers.tolist()]
            etags = [f"{n * 0x9E3779B97F4A7C15 % 2**128:032x}" for n in numbers.tolist()]
            sizes = rng.integers(20_000, 400_000, len(numbers))
            sizes[::1000] = 1
            writer.write_table(pa.table([uris, sizes, etags], schema=schema))


class MemoryWatch:
    """Samples this process's resident set until it is stopped."""

    def __init__(self) -> None:
        self.before = self.peak = self._now()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """The growth in MB."""
        self._is_over.set()
        self._thread.join()
        return (self.peak - self.before) / 1e6

    def _watch(self) -> None:
        while not self._is_over.wait(0.1):
            self.peak = max(self.peak, self._now())

    def _now(self) -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * STATM_PAGE_BYTES


class WatchedBoard(ProgressBoard):
    """Records when a worker first asks whether it may start a shard."""

    def __init__(self, error_budget: float, num_workers: int) -> None:
        super().__init__(error_budget, num_workers)
        self._first_asked = 0.0

    def reason_to_stop(self) -> str:
        self._first_asked = self._first_asked or time.time()
        return super().reason_to_stop()

    def first_asked(self) -> float:
        """Seconds since the epoch."""
        return self._first_asked


def measure(num_images: int, folder: Path) -> dict[str, float]:
    """Plan, start, and wait for the first shard to be taken."""
    write_manifest(folder / "manifest.parquet", num_images)
    config = LabelConfig(
        images=str(folder / "manifest.parquet"), output=str(folder / "run"), num_workers=1
    )
    watch = MemoryWatch()
    started = time.time()
    prepared = prepare(config)
    planned = time.time()
    pending = [ShardTask(shard=s, attempts_before=0) for s in range(prepared.plan.num_shards)]
    with ray_cluster(1):
        board = ray.remote(num_cpus=0)(WatchedBoard).remote(1.0, 1)
        ray.get(board.stop.remote("this is a benchmark"))  # workers take shards, and label none
        job = LabelJob(config=config, plan=prepared.plan, vocabulary=prepared.vocabulary)
        row = next(iter(label(pending, job, board).iter_rows()))
        assert row["problem"] == "this is a benchmark"
        first = ray.get(board.first_asked.remote())
    return {
        "num_images": num_images,
        "num_planned": prepared.plan.num_images,
        "num_dropped": prepared.plan.num_dropped,
        "num_shards": prepared.plan.num_shards,
        "plan_s": planned - started,
        "plan_to_first_shard_s": first - planned,
        "total_s": first - started,
        "driver_growth_mb": watch.stop(),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-images", type=int, default=10_000_000)
    num_images = parser.parse_args().num_images
    folder = Path(tempfile.mkdtemp(prefix="possam-bench-"))
    try:
        figures = measure(num_images, folder)
    finally:
        shutil.rmtree(folder)
    table = Table("figure", "value", title="Planning", title_justify="left")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.1f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
    write_json(OUTPUT, {"machine": platform.platform(), "figures": figures})


if __name__ == "__main__":
    main()
