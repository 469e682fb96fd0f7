"""Processor time and memory of a first and of a second `possam report` of a run of many shards.

The run holds the photographs in `../shared/data` with their true segments (without that folder:
drawings) many times over. Each report is a process of its own; the second one's files must be the
first one's, byte for byte. `possam stats` and `possam verify` follow. Writes
`build/bench/report_again.json`.
"""

import hashlib
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json
from benchmarks.true_corpus import make_corpus, write_run

OUTPUT = Path("build/bench/report_again.json")
NUM_SHARDS, SHARD_SIZE = 2000, 20
KILOBYTE = 1024  # Linux's unit of resident memory
POSSAM = str(Path(sys.executable).with_name("possam"))


# In a small process of its own: a child's peak begins with the memory of the process that forks it.
MEASURE = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


def measured(*arguments: str) -> dict[str, float]:
    """Processor seconds and the peak of resident memory of one command; it may find problems."""
    command = [sys.executable, "-c", MEASURE, POSSAM, *arguments]
    seconds, kilobytes = json.loads(subprocess.check_output(command))
    return {"processor s": seconds, "MB": kilobytes * KILOBYTE / 1e6}


def digest(folder: Path) -> str:
    """Of the names and bytes of all files."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return total.hexdigest()


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus()
        run = write_run(Path(folder), corpus, NUM_SHARDS * SHARD_SIZE, shard_size=SHARD_SIZE)
        figures, digests = {}, []
        for name in ("first report", "second report"):
            figures[name] = measured("report", run)
            digests.append(digest(Path(run) / "report"))
        for command in ("stats", "verify"):
            figures[command] = measured(command, run)
    if digests[0] != digests[1]:
        raise SystemExit("expected the same files twice, but the second report has others")
    table = Table(corpus.kind, "processor s", "MB")
    for name, row in figures.items():
        table.add_row(name, f"{row['processor s']:.1f}", f"{row['MB']:.0f}")
    Console().print(table)
    write_json(
        OUTPUT,
        {
            "machine": platform.platform(),
            "corpus": corpus.kind,
            "shards": NUM_SHARDS,
            "images": NUM_SHARDS * SHARD_SIZE,
            "figures": figures,
        },
    )


if __name__ == "__main__":
    main()
