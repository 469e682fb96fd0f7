"""Train `possam-tiny` from seeds; `make train-tiny` runs this. Interrupted, it resumes."""

import argparse
import dataclasses
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from possam_core.model import InferenceConfig, ModelCard, PosSAM, PosSAMConfig
from possam_core.playground import PLAYGROUND
from possam_core.training.calibrate import calibrate_model
from possam_core.training.clip_stage import clip_accuracy, train_clip
from possam_core.training.data import SceneSet, SceneStore, StoredScenes
from possam_core.training.evaluate import HeldOutScenes
from possam_core.training.files import LocalFolder
from possam_core.training.labelled import PlaygroundImages
from possam_core.training.possam_stage import MaskTraining, train_possam
from possam_core.training.stage import Evaluation, LoopConfig
from possam_core.weights import save_model

logger = logging.getLogger(__name__)

SEEN = PLAYGROUND.training_vocabulary
SAM_LEARNS_UNTIL = 0.8  # of the steps
NO_CLASS_INDEX = -1  # of a class that training does not show


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyRecipe:
    """Seeds and lengths of everything; held-out seeds never overlap with training ones."""

    num_scenes: int = 14_000
    clip_steps: int = 4_600
    possam_steps: int = 2_300
    seed: int = 1
    clip_scene_seed: int = 101
    possam_scene_seed: int = 102
    tuning_seed: int = 201
    report_seed: int = 301
    clip_held_out_scenes: int = 512
    progress_scenes: int = 64  # of the tuning seed, for the figures on the way
    tuning_scenes: int = 100
    report_scenes: int = 300
    calibration_seed: int = 202
    calibration_scenes: int = 400


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for data and states")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    train_tiny(TinyRecipe(), parser.parse_args().output)


def train_tiny(recipe: TinyRecipe, folder: Path) -> None:
    """Both stages, the choice of thresholds, and the report."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    torch.manual_seed(recipe.seed)
    card = ModelCard(
        vocabulary=PLAYGROUND.vocabulary,
        training_names=tuple(n for c in SEEN.classes for n in c.all_names),
    )
    model = PosSAM(PosSAMConfig(), card)
    model.to(memory_format=torch.channels_last)
    _train_clip(model, recipe, folder)
    logger.info("CLIP-tiny is trained, %.0f min", (time.monotonic() - started) / 60)
    _train_possam(model, recipe, folder)
    logger.info("PosSAM is trained, %.0f min", (time.monotonic() - started) / 60)
    write_checkpoint(model, recipe, folder)
    logger.info("done, %.0f min", (time.monotonic() - started) / 60)


def _train_clip(model: PosSAM, recipe: TinyRecipe, folder: Path) -> None:
    canvas = model.config.sam.image_size
    everything = SceneSet(seed=recipe.clip_scene_seed, num_scenes=recipe.num_scenes, canvas=canvas)
    train_clip(
        model.clip,
        PLAYGROUND.vocabulary,
        SceneStore(everything, folder / "scenes-all"),
        _clip_held_out(recipe, model, folder),
        LoopConfig(num_steps=recipe.clip_steps, seed=recipe.seed),
        LocalFolder(folder),
    )


def _clip_held_out(recipe: TinyRecipe, model: PosSAM, folder: Path) -> SceneStore:
    scenes = SceneSet(
        seed=recipe.tuning_seed,
        num_scenes=recipe.clip_held_out_scenes,
        canvas=model.config.sam.image_size,
    )
    return SceneStore(scenes, folder / "scenes-tuning")


def _train_possam(model: PosSAM, recipe: TinyRecipe, folder: Path) -> None:
    seen = SceneSet(
        seed=recipe.possam_scene_seed,
        num_scenes=recipe.num_scenes,
        canvas=model.config.sam.image_size,
        class_names=tuple(c.name for c in SEEN.classes),
    )
    loop = LoopConfig(num_steps=recipe.possam_steps, seed=recipe.seed)
    trained = {c.name: i for i, c in enumerate(SEEN.classes)}
    names = [c.name for c in PLAYGROUND.vocabulary.classes]
    scenes = StoredScenes(
        SceneStore(seen, folder / "scenes-seen"),
        torch.tensor([trained.get(name, NO_CLASS_INDEX) for name in names]),
        batch_size=loop.batch_size,
        seed=loop.seed,
    )
    held_out = HeldOutScenes(seed=recipe.tuning_seed, num_scenes=recipe.progress_scenes)
    training = MaskTraining(
        vocabulary=SEEN,
        batches=scenes,
        loop=loop,
        sam_learns_until=SAM_LEARNS_UNTIL,
        evaluate=lambda: Evaluation(held_out.pq(model, InferenceConfig())),
    )
    train_possam(model, training, LocalFolder(folder))


def write_checkpoint(model: PosSAM, recipe: TinyRecipe, folder: Path) -> None:
    """Choose thresholds, calibrate, measure on scenes used for nothing else, and write.

    Measured is what ships: the model as rounded to half precision.
    """
    tuning = HeldOutScenes(seed=recipe.tuning_seed, num_scenes=recipe.tuning_scenes)
    report = HeldOutScenes(seed=recipe.report_seed, num_scenes=recipe.report_scenes)
    model.load_state_dict({k: v.half().float() for k, v in model.state_dict().items()})
    inference = tuning.tune(model)
    measured = report.measure(model, inference)
    calibrated = calibrate_model(
        model,
        inference,
        fit_on=_all_classes(recipe.calibration_seed, recipe.calibration_scenes),
        measure_on=_all_classes(recipe.report_seed, recipe.report_scenes),
    )
    model.card = replace(
        model.card,
        inference=calibrated.inference,
        metrics={
            "recipe": dataclasses.asdict(recipe),
            "report_scenes": len(report.scenes),
            "quality": {name: dataclasses.asdict(q) for name, q in measured.groups.items()},
            "pq_by_class": {name: q.pq for name, q in measured.classes.items()},
            "calibration": calibrated.metrics,
            "clip_accuracy_under_true_masks": clip_accuracy(
                model.clip, PLAYGROUND.vocabulary, _clip_held_out(recipe, model, folder)
            ),
        },
    )
    save_model(folder / "possam-tiny.safetensors", model)
    for name, quality in measured.groups.items():
        figures = [f"{100 * v:.1f}" for v in (quality.pq, quality.sq, quality.rq)]
        logger.info("%s: PQ %s  SQ %s  RQ %s", name, *figures)


def _all_classes(seed: int, num_scenes: int) -> PlaygroundImages:
    vocabulary = PLAYGROUND.vocabulary
    return PlaygroundImages(seed=seed, num_scenes=num_scenes, vocabulary=vocabulary)


if __name__ == "__main__":
    main()
