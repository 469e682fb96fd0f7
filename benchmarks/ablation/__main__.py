"""The ablation: trains, measures and writes the table of `docs/results.md`.

usage: python -m benchmarks.ablation [--output DIR] [--checkpoint FILE] [--device cuda]
       [--processes N] [--only-train]

Interrupted, the same command resumes; so the networks may be trained on a machine with a GPU and
measured on another.
"""

import argparse
import logging
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.markdown import Markdown

from benchmarks.ablation.study import StudyRecipe, run_study
from benchmarks.ablation.table import figures, markdown, write_table
from benchmarks.report import write_json

OUTPUT = Path("build/ablation")
PAGE = Path("docs/results.md")


def main() -> None:
    """Run the study, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for data and states")
    parser.add_argument("--checkpoint", default="possam-tiny", help="its encoders are used by all")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--processes", type=int, default=2, help="networks trained at once")
    parser.add_argument("--only-train", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    recipe, folder = StudyRecipe(checkpoint=arguments.checkpoint), arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    device, num_processes = torch.device(arguments.device), arguments.processes
    run_study(recipe, folder, device, num_processes, only_train=arguments.only_train)
    if arguments.only_train:
        return
    found = figures(recipe, folder)
    about = {"date": datetime.now(UTC).date().isoformat(), "machine": platform.platform()}
    write_json(folder / "table.json", about | found)
    text = markdown(found)
    write_table(PAGE, text)
    Console().print(Markdown(text))


if __name__ == "__main__":
    main()
