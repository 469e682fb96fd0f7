"""Processor time of `possam --help` and `possam status`, against another checkout's.

Both sides take turns, user and system time count, and the median is reported. The run that `status`
reads is the demo's. Writes `build/bench/startup.json`.

usage: python -m benchmarks.startup --other CHECKOUT [--run RUN]
"""

import argparse
import platform
import resource
import statistics
import subprocess
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json

OUTPUT = Path("build/bench/startup.json")
TIMES = 21


def processor_s(command: list[str]) -> float:
    """CPU time of one call of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(arguments: list[str], other: Path) -> dict[str, float]:
    """Medians of both sides, in seconds."""
    ours, theirs = ([str(at / ".venv/bin/possam"), *arguments] for at in (Path.cwd(), other))
    pairs = [(processor_s(ours), processor_s(theirs)) for _ in range(TIMES + 1)][1:]
    own, others = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {"this": own, "other": others, "share": own / others}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--other", type=Path, required=True, help="a checkout with its own .venv")
    parser.add_argument("--run", default="build/demo/run", help="of `make demo`")
    options = parser.parse_args()
    calls = {"--help": ["--help"], "status RUN": ["status", options.run]}
    figures = {name: measure(call, options.other.absolute()) for name, call in calls.items()}
    table = Table("possam", "this", "other", "share", title="Start-up", title_justify="left")
    for name, f in figures.items():
        table.add_row(name, f"{f['this']:.3f} s", f"{f['other']:.3f} s", f"{f['share']:.2f}")
    Console().print(table)
    write_json(OUTPUT, {"machine": platform.platform(), "times": TIMES, "figures": figures})


if __name__ == "__main__":
    main()
