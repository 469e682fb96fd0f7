"""Speed of the bare predictor on playground scenes with possam-tiny.

The least of five times counts. Prints a line and writes `build/bench/throughput.json`.
"""

import platform
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.report import write_json
from benchmarks.timing import least_seconds
from possam_core.playground import generate_scene
from possam_core.predictor import load_predictor

OUTPUT = Path("build/bench/throughput.json")
NUM_SCENES = 32


def main() -> None:
    """Measure, print, write."""
    predictor = load_predictor("possam-tiny")
    images = [generate_scene(1, i).image for i in range(NUM_SCENES)]
    (seconds,) = least_seconds(lambda: predictor(images))
    rate = f"{NUM_SCENES / seconds:.1f} images/s"
    Console().print(f"predictor, {platform.machine()}, {torch.get_num_threads()} threads: {rate}")
    write_json(OUTPUT, {"predictor": rate})


if __name__ == "__main__":
    main()
