"""Stage 2: trains masks, IoU and LDP on the training vocabulary, with the encoders frozen.

A SAM that is not pretrained may first be trained with the masks, and is then frozen, too.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch

from possam_core.model import EncoderFeatures, PosSAM
from possam_core.training.batches import ReadAhead, split_share
from possam_core.training.data.feature_cache import FeatureCache
from possam_core.training.data.scenes import Batches, SceneBatch
from possam_core.training.files import Folder
from possam_core.training.loop import train_stage
from possam_core.training.loss_config import LossConfig
from possam_core.training.losses import BatchTotals, Truth, possam_loss
from possam_core.training.matching import Targets
from possam_core.training.points import PointSampler
from possam_core.training.stage import (
    Evaluation,
    LoopConfig,
    LoopReport,
    Observer,
    Stage,
    StepResult,
)
from possam_core.training.workers import Workers
from possam_core.vocabulary.text_embeddings import TextEmbeddings
from possam_core.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskTraining:
    """Data and settings of the mask stage."""

    vocabulary: Vocabulary  # of the training classes; classes of batches are positions in it
    batches: Batches
    loop: LoopConfig
    text: TextEmbeddings | None = None  # of the vocabulary; None: by the model's own text tower
    loss: LossConfig = field(default_factory=LossConfig)
    sam_learns_until: float = 0.0  # share of the steps before SAM is frozen; 0: from the start
    cache: FeatureCache | None = None  # of a SAM that is frozen from the start
    evaluate: Callable[[], Evaluation] | None = None
    checkpoint: Callable[[int, Mapping[str, float]], bytes] | None = None


def train_possam(
    model: PosSAM,
    training: MaskTraining,
    folder: Folder,
    *,
    workers: Workers | None = None,
    observer: Observer | None = None,
) -> LoopReport:
    """Train all of `model` but its frozen encoders; resumes from `folder` if possible.

    Raises:
        PossamError: an image cannot be read, the state in `folder` is of another architecture, or
            the losses have become non-finite.
    """
    workers = workers or Workers()
    model.train().requires_grad_(True)
    model.clip.requires_grad_(False).eval()
    if training.sam_learns_until == 0:
        model.sam.requires_grad_(False).eval()
    learner = _MaskLearner(model, training, workers)
    stage = Stage(
        name="possam",
        module=model,
        learn=learner.learn,
        evaluate=training.evaluate,
        best_by="all",
        checkpoint=training.checkpoint,
        batch_of=learner.batch_of,
    )
    try:
        return train_stage(stage, training.loop, folder, workers=workers, observer=observer)
    finally:
        learner.reader.close()


class _MaskLearner:
    """Computes the losses of one step after another."""

    def __init__(self, model: PosSAM, training: MaskTraining, workers: Workers) -> None:
        self.model, self.training, self.workers = model, training, workers
        self.text = model.embed(training.vocabulary, training.text)
        self.device = self.text.embeddings.device
        loop = training.loop
        self.parts = split_share(workers.share(loop.batch_size), loop.images_at_once)
        self.reader = ReadAhead(training.batches, self.parts, num_steps=loop.num_steps)

    def learn(self, step: int) -> Iterator[StepResult]:
        """The losses of this worker's parts of a step; those of all workers add up."""
        training = self.training
        if training.sam_learns_until > 0:
            learns = step < training.sam_learns_until * training.loop.num_steps
            self.model.sam.requires_grad_(learns)
        batches = self.reader.read(step)
        totals = self._totals(batches)
        for part, batch in zip(self.parts, batches, strict=True):
            yield self._learn_part(batch.to(self.device), totals, self._point_seeds(step, part))

    def batch_of(self, step: int) -> list[dict[str, object]]:
        """This worker's images of a step with their truth, for inspection."""
        return [
            {
                "pixels": batch.images.pixels,
                "ids": batch.ids,
                "classes": list(batch.classes),
                "names": [source.name for source in batch.sources],
            }
            for batch in (self.training.batches.read(step, part) for part in self.parts)
        ]

    def _totals(self, batches: list[SceneBatch]) -> BatchTotals:
        num_segments = [len(classes) for batch in batches for classes in batch.classes]
        num_queries = self.model.config.decoder.num_queries
        own = BatchTotals.count(num_segments, num_queries, self.training.loss.void)
        return BatchTotals(*self.workers.total([own.num_masks, own.class_weight]))

    def _learn_part(self, batch: SceneBatch, totals: BatchTotals, seeds: list[int]) -> StepResult:
        model, loss = self.model, self.training.loss
        is_low = self.training.loop.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_low):
            layers = model.decode(batch.images, self._features(batch), self.text, all_layers=True)
        grid = layers[-1].prediction.mask_logits.shape[-1]
        targets = Targets.stack([m.flatten(1) for m in batch.masks(grid)], batch.classes)
        points = None
        if loss.num_points:
            points = PointSampler(
                batch.ids, batch.images.resized_hw, seeds, num_points=loss.num_points
            )
        valid = model.valid_cells(batch.images, grid).flatten(1)
        losses = possam_loss(layers, Truth(targets, valid, totals, points), loss)
        return StepResult(losses.total, losses.terms)

    def _features(self, batch: SceneBatch) -> EncoderFeatures:
        if self.training.cache:
            return self.training.cache.features(self.model, batch)
        return self.model.encode(batch.images)

    def _point_seeds(self, step: int, part: range) -> list[int]:
        """One for each image, from its position in the whole batch, whichever worker has it."""
        texts = [f"{self.training.loop.seed} {step} {position}" for position in part]
        return [int(hashlib.sha256(t.encode()).hexdigest()[:12], 16) for t in texts]
