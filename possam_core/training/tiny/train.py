"""Train `possam-tiny` from seeds; `make train-tiny` runs this. Interrupted, it resumes."""

import argparse
import dataclasses
import logging
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from possam_core.checkpoints.weights import save_model
from possam_core.evaluation.percent import percent
from possam_core.model import ModelCard, PosSAM, PosSAMConfig
from possam_core.playground import PLAYGROUND, World
from possam_core.predictor import Predictor
from possam_core.training.calibrate import calibrate_teacher
from possam_core.training.data.labelled import PlaygroundImages
from possam_core.training.evaluating import evaluating
from possam_core.training.tiny.clip_stage import clip_accuracy
from possam_core.training.tiny.encoder_stages import EncoderRecipe, clip_scenes, train_encoders
from possam_core.training.tiny.evaluate import HeldOutScenes
from possam_core.training.tiny.world_stage import WorldRecipe, stored_scenes, train_on_world
from possam_core.training.workers import work_together

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyRecipe:
    """Seeds and lengths of everything."""

    encoders: EncoderRecipe = field(default_factory=EncoderRecipe)
    head: WorldRecipe = field(default_factory=WorldRecipe)
    report_seed: int = 301
    tuning_scenes: int = 100
    report_scenes: int = 300
    calibration_seed: int = 202
    calibration_scenes: int = 400


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for data and states")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    device = torch.device(arguments.device)
    train_tiny(TinyRecipe(), PosSAMConfig(), arguments.output, device)


def train_tiny(
    recipe: TinyRecipe, config: PosSAMConfig, folder: Path, device: torch.device
) -> None:
    """Train the encoders and the head, choose thresholds, and write the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    encoders = train_encoders(config, recipe.encoders, folder, device)
    save_model(folder / "encoders.safetensors", encoders)
    logger.info("the encoders are trained, %.0f min", (time.monotonic() - started) / 60)
    model = fresh_head(encoders, PLAYGROUND, seed=recipe.head.seed)
    stored_scenes(PLAYGROUND, recipe.head, folder, canvas=config.sam.image_size)  # for all workers
    # Views repeat too rarely for a feature cache.
    work = partial(train_on_world, model, PLAYGROUND, recipe.head, folder / "head", scenes=folder)
    is_shared = device.type == "cpu" and torch.get_num_threads() > 1
    work_together(work, num=2 if is_shared else 1)
    logger.info("PosSAM is trained, %.0f min", (time.monotonic() - started) / 60)
    write_checkpoint(model, recipe, folder)
    logger.info("done, %.0f min", (time.monotonic() - started) / 60)


def fresh_head(encoders: PosSAM, world: World, *, seed: int) -> PosSAM:
    """The encoders of one model under a new head, to learn the training classes of a world."""
    torch.manual_seed(seed)
    card = ModelCard(
        vocabulary=world.vocabulary,
        training_names=tuple(n for c in world.training_vocabulary.classes for n in c.all_names),
    )
    model = PosSAM(encoders.config, card)
    model.sam, model.clip = encoders.sam, encoders.clip
    device = encoders.clip.pixel_mean.device
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def write_checkpoint(model: PosSAM, recipe: TinyRecipe, folder: Path) -> None:
    """Choose thresholds, calibrate, measure on scenes used for nothing else, and write.

    The measured model is the shipped one, rounded to half precision.
    """
    tuning = HeldOutScenes(seed=recipe.head.tuning_seed, num_scenes=recipe.tuning_scenes)
    report = HeldOutScenes(seed=recipe.report_seed, num_scenes=recipe.report_scenes)
    model.load_state_dict({k: v.half().float() for k, v in model.state_dict().items()})
    inference = tuning.tune(model)
    measured = report.measure(model, inference)
    with evaluating(model):
        calibrated = calibrate_teacher(
            lambda vocabulary: Predictor(model, vocabulary, inference=inference),
            fit_on=_all_classes(recipe.calibration_seed, recipe.calibration_scenes),
            measure_on=_all_classes(recipe.report_seed, recipe.report_scenes),
        )
    world, *_ = clip_scenes(recipe.encoders, folder, canvas=model.config.sam.image_size)
    model.card = replace(
        model.card,
        inference=replace(inference, calibration=calibrated.calibration),
        metrics={
            "recipe": dataclasses.asdict(recipe),
            "report_scenes": len(report.scenes),
            "quality": {name: dataclasses.asdict(q) for name, q in measured.groups.items()},
            "pq_by_class": {name: q.pq for name, q in measured.classes.items()},
            "calibration": calibrated.metrics,
            "clip_accuracy_under_true_masks": clip_accuracy(model.clip, world),
        },
    )
    save_model(folder / "possam-tiny.safetensors", model)
    for name, quality in measured.groups.items():
        figures = [percent(value) for value in (quality.pq, quality.sq, quality.rq)]
        logger.info("%s: PQ %s  SQ %s  RQ %s", name, *figures)


def _all_classes(seed: int, num_scenes: int) -> PlaygroundImages:
    vocabulary = PLAYGROUND.vocabulary
    return PlaygroundImages(seed=seed, num_scenes=num_scenes, vocabulary=vocabulary)


if __name__ == "__main__":
    main()
