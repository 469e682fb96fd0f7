"""Train `possam-tiny` from seeds; `make train-tiny` runs this. Interrupted, it resumes."""

import argparse
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from possam_core.model import PosSAM, PosSAMConfig
from possam_core.playground import playground_vocabulary, seen_vocabulary
from possam_core.training.clip_stage import train_clip
from possam_core.training.data import SceneSet, SceneStore
from possam_core.training.loop import StageConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyRecipe:
    """Seeds and lengths of everything; held-out seeds never overlap with training ones."""

    num_scenes: int = 14_000
    clip_steps: int = 3_400
    possam_steps: int = 3_000
    seed: int = 1
    clip_scene_seed: int = 101
    possam_scene_seed: int = 102
    tuning_seed: int = 201
    report_seed: int = 301


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for data and states")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    train_tiny(TinyRecipe(), parser.parse_args().output)


def train_tiny(recipe: TinyRecipe, folder: Path) -> None:
    """Both stages, the choice of thresholds, and the report."""
    started = time.monotonic()
    torch.manual_seed(recipe.seed)
    model = PosSAM(PosSAMConfig())
    model.to(memory_format=torch.channels_last)
    canvas = model.config.sam.image_size
    vocabulary = playground_vocabulary()
    everything = SceneSet(seed=recipe.clip_scene_seed, num_scenes=recipe.num_scenes, canvas=canvas)
    held_out = SceneSet(seed=recipe.tuning_seed, num_scenes=512, canvas=canvas)
    train_clip(
        model.clip,
        vocabulary,
        SceneStore(everything, folder / "scenes-all"),
        SceneStore(held_out, folder / "scenes-tuning"),
        StageConfig(name="clip", num_steps=recipe.clip_steps, seed=recipe.seed),
        folder,
    )
    logger.info("CLIP-tiny is trained after %.0f min", (time.monotonic() - started) / 60)


if __name__ == "__main__":
    main()
