"""Savings of the feature cache in a training step, once every view is in it.

`possam-tiny` with a fresh head on fixed views of playground scenes, and with `--full-size` the head
of full size on SAM ViT-B and CLIP ConvNeXt-L with random weights at 1024 x 1024. Both
sides take turns in one process, and the least time of a step counts. Prints a table and
writes `build/bench/feature_cache.json`.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json
from possam_core.model import ModelCard, PosSAM, full_size
from possam_core.playground import PLAYGROUND
from possam_core.training.batches import ViewedImages
from possam_core.training.data.augment import AugmentConfig
from possam_core.training.data.feature_cache import FeatureCache
from possam_core.training.data.labelled import PlaygroundImages
from possam_core.training.data.scenes import SceneBatch
from possam_core.training.loss_config import LossConfig
from possam_core.training.network import NetworkConfig, build_network
from possam_core.training.possam_stage import MaskTraining, train_possam
from possam_core.training.stage import LoopConfig

OUTPUT = Path("build/bench/feature_cache.json")
VOCABULARY = PLAYGROUND.training_vocabulary.subset(("apple", "star", "sky", "grass"), name="few")
STEPS, TURNS = 3, 2


class SameBatch:
    """One batch for every step, so that the network is measured and not the reading."""

    def __init__(self, batch: SceneBatch) -> None:
        self.batch = batch

    def read(self, step: int, positions: Sequence[int]) -> SceneBatch:
        return self.batch


class DiscardingFolder:
    """A folder that discards its files."""

    def read(self, name: str) -> bytes | None:
        return None

    def write(self, name: str, data: bytes) -> str:
        return name

    def full_name(self, name: str) -> str:
        return name


class Clock:
    """An observer that records when each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.times.append(time.perf_counter())

    def examples(self, step: int, examples: Sequence[object]) -> None: ...


def least_step_seconds(model: PosSAM, batch: SceneBatch, cache: FeatureCache | None) -> float:
    """The least time of a whole step: features, head, losses, gradients, optimiser."""
    training = MaskTraining(
        vocabulary=VOCABULARY,
        batches=SameBatch(batch),
        loop=LoopConfig(num_steps=1 + STEPS, batch_size=len(batch.classes), log_every=1),
        loss=LossConfig(num_points=12544 if model.config.sam.image_size > 512 else None),
        cache=cache,
    )
    clock = Clock()
    train_possam(model, training, DiscardingFolder(), observer=clock)
    return min(end - start for start, end in pairwise(clock.times))


def measure(model: PosSAM, batch_size: int) -> dict[str, float]:
    """Seconds of a step with and without the cache, and the cache's size on disk."""
    images = PlaygroundImages(seed=1, num_scenes=batch_size, vocabulary=VOCABULARY)
    fixed = AugmentConfig(min_scale=1.0, max_scale=1.0, flip=False)
    canvas = model.config.sam.image_size
    loop = LoopConfig(num_steps=1, batch_size=batch_size)
    batches = ViewedImages(images, fixed, loop, canvas=canvas)
    batch = batches.read(0, range(batch_size))
    with tempfile.TemporaryDirectory(dir=".") as folder:
        cache = FeatureCache(Path(folder), key="bench", num_images=batch_size)
        least_step_seconds(model, batch, cache)  # fills it
        num_bytes = sum(f.stat().st_blocks * 512 for f in Path(folder).rglob("*.f16"))
        turns = [[least_step_seconds(model, batch, c) for c in (None, cache)] for _ in range(TURNS)]
        without, cached = (min(times) for times in zip(*turns, strict=True))
    return {
        "images_a_step": batch_size,
        "step_ms": 1e3 * without,
        "cached_step_ms": 1e3 * cached,
        "times_as_fast": without / cached,
        "mb_a_view": num_bytes / batch_size / 1e6,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full-size", action="store_true", help="too: minutes, and some 12 GB")
    arguments = parser.parse_args()
    tiny = NetworkConfig(checkpoint="possam-tiny", fresh_head=True)
    rows = {"possam-tiny": measure(build_network(tiny, VOCABULARY, seed=0).model, 16)}
    if arguments.full_size:
        card = ModelCard(vocabulary=VOCABULARY, training_names=())
        rows["vit_b and convnext_large_d_320"] = measure(PosSAM(full_size("vit_b"), card), 1)
    title = f"a training step, {platform.machine()}, {torch.get_num_threads()} threads"
    table = Table("measured", *rows, title=title)
    for name in next(iter(rows.values())):
        table.add_row(name, *(f"{row[name]:.4g}" for row in rows.values()))
    Console().print(table)
    write_json(OUTPUT, {"threads": torch.get_num_threads(), **rows})


if __name__ == "__main__":
    main()
