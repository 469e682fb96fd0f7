"""How often the grades of possam-tiny are wrongly called uncalibrated, and how often rightly.

    python -m benchmarks.kinds_of_images [--photographs ../shared/data/coco128_train/images]

Labels playground scenes of seeds that its calibration has not seen, scenes of the workshop,
textures, and photographs, if there are some; all with the playground's classes. Then draws images
at random, as if each draw were a run, and counts those that are far from the calibration.
"""

import argparse
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy import ndarray
from PIL import Image
from rich.console import Console
from rich.table import Table

from possam_core.checkpoints.models import read_card
from possam_core.images.decode import decode_image
from possam_core.labels.calibration_set import MEASURES, CalibrationSet, SeenImages, other_images
from possam_core.labels.quality import seen_measures
from possam_core.playground import PLAYGROUND, WORKSHOP, generate_scene
from possam_core.playground.world import World
from possam_core.predictor import load_teacher
from possam_core.teachers.teacher import Teacher

MODEL = "possam-tiny"
NUM_IMAGES = 200  # of a kind, at most
RUN_SIZES = (2, 4, 8, 16, 32, 64)
NUM_RUNS = 1000  # drawn of each size


def scenes(world: World, seed: int) -> Iterator[ndarray]:
    """Drawn images (H, W, 3)."""
    return (generate_scene(seed, i, world=world).image for i in range(NUM_IMAGES))


def textures() -> Iterator[ndarray]:
    """Noise of four grains, enlarged to 192 x 192 pixels."""
    rng = np.random.default_rng(0)
    for i in range(NUM_IMAGES):
        side = (192, 24, 8, 4)[i % 4]
        noise = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        yield np.asarray(noise.resize((192, 192)))


def measure(teacher: Teacher, images: Iterable[ndarray]) -> ndarray:
    """The measures of each image (N, MEASURES)."""
    rows = []
    for image in islice(images, NUM_IMAGES):
        (segmentation,) = teacher([image])
        measures = seen_measures(segmentation)
        rows.append([measures[name] for name in MEASURES])
    return np.array(rows)


def share_far(calibrated: CalibrationSet, measured: ndarray, size: int) -> float:
    """The share of runs of `size` images that are called far."""
    rng, num_far = np.random.default_rng(0), 0
    for _ in range(NUM_RUNS):
        drawn = measured[rng.choice(len(measured), size, replace=False)]
        means = dict(zip(MEASURES, drawn.mean(axis=0).tolist(), strict=True))
        num_far += other_images(calibrated, SeenImages(num_images=size, means=means)) is not None
    return num_far / NUM_RUNS


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photographs", type=Path)
    folder = parser.parse_args().photographs
    kinds = {f"playground, seed {s}": scenes(PLAYGROUND, s) for s in (202, 501, 502)}
    kinds |= {"workshop": scenes(WORKSHOP, 301), "textures": textures()}
    if folder:
        files = sorted(folder.rglob("*.jpg"))
        kinds["photographs"] = (decode_image(file.read_bytes()).pixels for file in files)
    teacher = load_teacher(MODEL, PLAYGROUND.vocabulary, device="cpu")
    calibrated = read_card(MODEL).calibrated
    assert calibrated is not None  # it ships with the checkpoint
    table = Table("kind", *MEASURES, *map(str, RUN_SIZES), title="runs called far, by their size")
    for name, images in kinds.items():
        measured = measure(teacher, images)
        means = [f"{mean:.2f}" for mean in measured.mean(axis=0)]
        shares = [f"{share_far(calibrated, measured, size):.1%}" for size in RUN_SIZES]
        table.add_row(name, *means, *shares)
    Console().print(table)


if __name__ == "__main__":
    main()
