"""Processor time of `possam label` until the first image is labelled, against another checkout's.

All processes count: the command, Ray's and the worker. The first image is labelled when the first
file of a run with one image a file is there. Both sides take turns; medians are reported. The
images are the demo's (`make demo`). Writes `build/bench/first_image.json`.

usage: python -m benchmarks.first_image --other CHECKOUT
"""

import argparse
import contextlib
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json

OUTPUT = Path("build/bench/first_image.json")
CORPUS = Path("build/demo/corpus").absolute()
TIMES = 5
LOOK_EVERY_S = 0.05

Row = dict[str, float]


def first_image(checkout: Path) -> Row:
    """Of one run: seconds, processor seconds, processes."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        words = ["--vocabulary", str(CORPUS / "vocabulary.yaml"), "--shard-size", "1"]
        images = str(CORPUS / "images")
        possam = str(checkout / ".venv/bin/possam")
        started = time.monotonic()
        process = subprocess.Popen(
            [possam, "label", images, "--output", str(output), *words],
            cwd=folder,  # Ray's workers would import from a checkout
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        seconds = dict[int, float]()
        while not next(output.glob("data/*/shard-*.parquet"), None):
            if process.poll() is not None:
                raise SystemExit(f"expected {possam} to label an image, but it ended without one")
            seconds |= processor_s(psutil.Process(process.pid))
            time.sleep(LOOK_EVERY_S)
        row = {
            "s": time.monotonic() - started,
            "processor s": sum(seconds.values()),
            "processes": float(len(seconds)),
        }
        process.wait()
    return row


def processor_s(command: psutil.Process) -> dict[int, float]:
    """Of the command and of all processes below it, by their numbers."""
    found = {}
    for process in (command, *command.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            times = process.cpu_times()
            found[process.pid] = times.user + times.system
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--other", type=Path, required=True, help="a checkout with its own .venv")
    other = parser.parse_args().other.absolute()
    pairs = [(first_image(Path.cwd()), first_image(other)) for _ in range(TIMES)]
    table = Table("until the first image", "this", "other", "share", title_justify="left")
    figures = {}
    for name in pairs[0][0]:
        own, others = (
            statistics.median(row[name] for row in rows) for rows in zip(*pairs, strict=True)
        )
        figures[name] = {"this": own, "other": others, "share": own / others}
        table.add_row(name, f"{own:.1f}", f"{others:.1f}", f"{own / others:.2f}")
    Console().print(table)
    write_json(OUTPUT, {"machine": platform.platform(), "times": TIMES, "figures": figures})


if __name__ == "__main__":
    main()
