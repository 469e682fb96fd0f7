"""Stage 2: masks, IoU and LDP learn on seen classes alone, with CLIP frozen.

SAM-tiny learns together with the masks first, for nobody pretrained it, and is then frozen too.
"""

from pathlib import Path

import numpy as np
import torch

from possam_core.model import InferenceConfig, PosSAM
from possam_core.training.data import SceneBatch, SceneStore
from possam_core.training.evaluate import HeldOutScenes
from possam_core.training.loop import StageConfig, StepResult, train_stage
from possam_core.training.losses import LossWeights, Targets, possam_loss
from possam_core.vocabulary import Vocabulary

SAM_FROZEN_FROM = 0.8  # of the steps


def train_possam(
    model: PosSAM,
    *,
    training_vocabulary: Vocabulary,
    scenes_vocabulary: Vocabulary,
    scenes: SceneStore,
    held_out: HeldOutScenes,
    config: StageConfig,
    folder: Path,
) -> None:
    """Train all of `model` but CLIP on `scenes`, which show the training classes alone.

    Args:
        model: with a trained CLIP.
        training_vocabulary: what the classifier may know.
        scenes_vocabulary: what class indices of `scenes` mean.
        scenes: training scenes.
        held_out: other scenes, for the figures shown on the way.
        config: length and speed.
        folder: for states to resume from.
    """
    model.clip.requires_grad_(False)
    text = model.clip.embed_vocabulary(training_vocabulary)
    names = [c.name for c in scenes_vocabulary.classes]
    trained = {c.name: i for i, c in enumerate(training_vocabulary.classes)}
    class_index = torch.tensor([trained.get(name, -1) for name in names])
    weights = LossWeights()

    def step(index: int, rng: np.random.Generator) -> StepResult:
        model.sam.requires_grad_(index < SAM_FROZEN_FROM * config.num_steps)
        batch = scenes.batch(rng, config.batch_size)
        with torch.autocast("cpu", torch.bfloat16):
            layers = model(batch.images, text, all_layers=True)
        grid = layers[-1].prediction.mask_logits.shape[-1]
        valid = model.valid_cells(batch.images, grid).flatten(1)
        losses = possam_loss(layers, _targets(batch, class_index, grid), valid, weights)
        return StepResult(losses.total, losses.terms)

    def evaluate() -> dict[str, float]:
        return held_out.pq(model, InferenceConfig())

    train_stage(model, config, folder, step=step, evaluate=evaluate)


def _targets(batch: SceneBatch, class_index: torch.Tensor, grid: int) -> list[Targets]:
    return [
        Targets(masks.flatten(1), class_index[classes])
        for masks, classes in zip(batch.masks(grid), batch.classes, strict=True)
    ]
