"""Trains PosSAM on one world: masks, IoU and LDP on its training classes, encoders frozen."""

from dataclasses import dataclass
from pathlib import Path

import torch

from possam_core.model import InferenceConfig, PosSAM
from possam_core.playground import World
from possam_core.training.data.feature_cache import FeatureCache, cache_key
from possam_core.training.data.scenes import SceneSet, SceneStore, StoredScenes
from possam_core.training.files import LocalFolder
from possam_core.training.possam_stage import MaskTraining, train_possam
from possam_core.training.stage import Evaluation, LoopConfig
from possam_core.training.tiny.evaluate import HeldOutScenes
from possam_core.training.workers import Workers

NOT_SHOWN = -1  # class index of classes that training does not show


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldRecipe:
    """Seeds and lengths; held-out seeds never overlap with training ones."""

    num_scenes: int = 40_000  # fewer are memorised on features that are frozen
    num_steps: int = 8_000
    batch_size: int = 16
    seed: int = 1  # of the head's weights and of the batches
    scene_seed: int = 102
    tuning_seed: int = 201
    progress_scenes: int = 64  # of the tuning seed, for the figures on the way


def stored_scenes(world: World, recipe: WorldRecipe, scenes: Path, *, canvas: int) -> SceneStore:
    """Scenes of the classes that training may show, kept in the folder `scenes`."""
    shown = SceneSet(
        world=world.name,
        seed=recipe.scene_seed,
        num_scenes=recipe.num_scenes,
        canvas=canvas,
        class_names=tuple(c.name for c in world.training_vocabulary.classes),
    )
    return SceneStore(shown, scenes / f"scenes-{world.name}-seen")


def training_batches(
    store: SceneStore, world: World, *, batch_size: int, seed: int
) -> StoredScenes:
    """Batches of `store` with classes as positions in the world's training vocabulary."""
    position = {c.name: i for i, c in enumerate(world.training_vocabulary.classes)}
    class_index = [position.get(c.name, NOT_SHOWN) for c in world.vocabulary.classes]
    return StoredScenes(store, torch.tensor(class_index), batch_size=batch_size, seed=seed)


def train_on_world(
    model: PosSAM,
    world: World,
    recipe: WorldRecipe,
    folder: Path,
    *,
    scenes: Path,
    features: Path | None = None,
) -> None:
    """Train the head of `model`, alone or as one of the workers; resumes from `folder` if possible.

    Args:
        model: with trained encoders.
        world: it is trained on this world's training classes.
        recipe: how long, and on what.
        folder: of the training's state.
        scenes: folder for rendered scenes, which trainings may share.
        features: folder for the encoders' features of them, shared likewise; None: not kept.
    """
    workers = Workers()
    loop = LoopConfig(num_steps=recipe.num_steps, batch_size=recipe.batch_size, seed=recipe.seed)
    canvas = model.config.sam.image_size
    store = stored_scenes(world, recipe, scenes, canvas=canvas)
    held_out = HeldOutScenes(
        seed=recipe.tuning_seed, num_scenes=recipe.progress_scenes, world=world
    )
    cache = None
    if features:
        key = cache_key(model, str(store.scene_set), canvas=canvas, precision=loop.precision)
        cache = FeatureCache(features, key=key, num_images=len(store))
    training = MaskTraining(
        vocabulary=world.training_vocabulary,
        batches=training_batches(store, world, batch_size=loop.batch_size, seed=loop.seed),
        loop=loop,
        cache=cache,
        evaluate=lambda: Evaluation(
            held_out.pq(model, InferenceConfig()) if workers.is_first else {}
        ),
    )
    train_possam(model, training, LocalFolder(folder), workers=workers)
