"""What bfloat16 changes in possam-tiny's labels, by the part that computes in it.

100 scenes of the playground, each labelled in float32, with one part in bfloat16, and with all.
Prints a table and writes `build/bench/precision.json`. On a CPU: the pixel decoder is the FPN of
possam-tiny, and norms and sums are rounded as autocast for a CPU has it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.gpu import agreements
from benchmarks.report import write_json
from possam_core.images.batch import ImageBatch, make_batch
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.model import EncoderFeatures
from possam_core.playground import generate_scene
from possam_core.predictor import Predictor, load_predictor

OUTPUT = Path("build/bench/precision.json")
NUM_SCENES = 100
SEED = 2_000_003  # not of the training scenes


@dataclass(frozen=True, slots=True)
class InBfloat16:
    """Which parts compute in it."""

    sam: bool = False
    clip: bool = False
    decoders: bool = False


VARIANTS = {
    "SAM's encoder": InBfloat16(sam=True),
    "CLIP's encoder": InBfloat16(clip=True),
    "decoders": InBfloat16(decoders=True),
    "all of it": InBfloat16(sam=True, clip=True, decoders=True),
}


def main() -> None:
    """Measure, print, write."""
    shares = measure(load_predictor("possam-tiny"), NUM_SCENES)
    title = f"pixels of the same class as in float32, {NUM_SCENES} scenes"
    table = Table("in bfloat16", "mean", "worst", title=title)
    for part, of_scenes in shares.items():
        table.add_row(part, f"{np.mean(of_scenes):.2%}", f"{min(of_scenes):.2%}")
    Console().print(table)
    figures = {part: [float(np.mean(of)), min(of)] for part, of in shares.items()}
    write_json(OUTPUT, figures)


@torch.no_grad()
def measure(predictor: Predictor, num_scenes: int) -> dict[str, list[float]]:
    """The share of pixels that keep their class, void included, by variant and scene."""
    shares: dict[str, list[float]] = {part: [] for part in VARIANTS}
    for index in range(num_scenes):
        image = generate_scene(seed=SEED, index=index).image
        batch = make_batch([image], canvas=predictor.model.config.sam.image_size)
        exact = label(predictor, batch, InBfloat16())
        for part, variant in VARIANTS.items():
            shares[part] += agreements(label(predictor, batch, variant), exact)
    return shares


def label(predictor: Predictor, batch: ImageBatch, low: InBfloat16) -> list[PanopticSegmentation]:
    """The labels with some parts in bfloat16; what follows a part takes its output as it is."""
    model = predictor.model

    def precision(is_low: bool) -> torch.autocast:
        return torch.autocast(batch.pixels.device.type, torch.bfloat16, enabled=is_low)

    with precision(low.sam):
        sam = model.sam(batch)
    with precision(low.clip):
        clip = model.clip.dense_features(batch)
    features = EncoderFeatures(sam, clip)
    if not low.decoders:
        features = EncoderFeatures(sam.float(), clip.float())
    with precision(low.decoders):
        (result,) = model.decode(batch, features, predictor.text)
    return predictor.merge(batch, result)


if __name__ == "__main__":
    main()
