"""Panoptic quality on held-out playground scenes, and the choice of thresholds."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from possam_core.evaluation.measurement import annotation
from possam_core.evaluation.panoptic_quality import (
    PanopticAnnotation,
    PanopticQuality,
    PanopticQualityCounts,
    TrueCategory,
    category_groups,
    count_matches,
    summarise,
)
from possam_core.images.batch import ImageBatch, make_batch
from possam_core.model import InferenceConfig, MaskClassification, PosSAM
from possam_core.playground import PLAYGROUND, Scene, World, generate_scene
from possam_core.predictor import Predictor
from possam_core.training.evaluating import evaluating

logger = logging.getLogger(__name__)

BATCH_SIZE = 16
GRID = {
    "merge.object_threshold": (0.02, 0.05, 0.1, 0.15, 0.2, 0.3),
    "merge.overlap_threshold": (0.5, 0.6, 0.7, 0.8),
    "merge.eta": (0.0, 0.5, 1.0),
    "mase.tau": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    "mase.alpha": (0.2, 0.4, 0.6),
    "mase.beta": (0.6, 0.8, 1.0),
}


@dataclass(frozen=True, slots=True)
class MeasuredQuality:
    """PQ, SQ and RQ of groups of classes and of each class."""

    groups: dict[str, PanopticQuality]
    classes: dict[str, PanopticQuality]


@dataclass(frozen=True, slots=True)
class _Network:
    """Outputs of the network for one batch; thresholds do not change them."""

    batch: ImageBatch
    result: MaskClassification
    scenes: tuple[Scene, ...]


class HeldOutScenes:
    """A world's scenes of all classes at their own size, labelled as a user would.

    The model may be trained on another world: its seen classes follow from its card.
    """

    def __init__(self, *, seed: int, num_scenes: int, world: World = PLAYGROUND) -> None:
        self.seed = seed
        self.scenes = tuple(generate_scene(seed, i, world=world) for i in range(num_scenes))
        self.vocabulary = world.vocabulary

    def pq(self, model: PosSAM, config: InferenceConfig) -> dict[str, float]:
        """PQ of each group of classes, in percent."""
        measured = self.measure(model, config)
        return {name: 100 * quality.pq for name, quality in measured.groups.items()}

    def measure(self, model: PosSAM, config: InferenceConfig) -> MeasuredQuality:
        """PQ, SQ and RQ over all classes, things, stuff, seen and unseen, and per class."""
        with evaluating(model):
            predictor = self._predictor(model, config)
            counts = self._count(predictor, self._run(predictor))
        return MeasuredQuality(
            groups=summarise(counts, category_groups(self.categories(model))),
            classes=summarise(counts, {c.name: [c.category_id] for c in self.vocabulary.classes}),
        )

    def tune(self, model: PosSAM) -> InferenceConfig:
        """The settings with the best PQ over all classes, by coordinate search over `GRID`."""
        config = InferenceConfig()
        with evaluating(model):
            predictor = self._predictor(model, config)
            outputs, categories = self._run(predictor), self.categories(model)
        best = -1.0
        for _ in range(2):
            for setting, values in GRID.items():
                for value in values:
                    predictor.inference = _with(config, setting, value)
                    counts = self._count(predictor, outputs)
                    pq = summarise(counts, category_groups(categories))["all"].pq
                    if pq > best:
                        best, config = pq, predictor.inference
                logger.info("tuning %s: PQ %.2f with %s", setting, 100 * best, config)
        return config

    def categories(self, model: PosSAM) -> list[TrueCategory]:
        """The world's classes; those that share a name with the model's training are seen."""
        classes = self.vocabulary.classes
        return [
            TrueCategory(id=c.category_id, name=c.name, is_thing=c.is_thing, is_seen=is_seen)
            for c, is_seen in zip(
                classes, self.vocabulary.seen_in(model.card.training_names), strict=True
            )
        ]

    def _predictor(self, model: PosSAM, config: InferenceConfig) -> Predictor:
        return Predictor(model, self.vocabulary, inference=config)

    @torch.inference_mode()
    def _run(self, predictor: Predictor) -> list[_Network]:
        outputs = []
        for start in range(0, len(self.scenes), BATCH_SIZE):
            scenes = self.scenes[start : start + BATCH_SIZE]
            canvas = predictor.model.config.sam.image_size
            device = predictor.model.clip.pixel_mean.device
            batch = make_batch([s.image for s in scenes], canvas=canvas).to(device)
            outputs.append(_Network(batch, predictor.classify(batch), scenes))
        return outputs

    @torch.inference_mode()
    def _count(self, predictor: Predictor, outputs: Sequence[_Network]) -> PanopticQualityCounts:
        counts = PanopticQualityCounts()
        for output in outputs:
            predictions = predictor.merge(output.batch, output.result)
            for scene, prediction in zip(output.scenes, predictions, strict=True):
                counts += count_matches(self._truth(scene), annotation(prediction))
        return counts

    def _truth(self, scene: Scene) -> PanopticAnnotation:
        ids = {
            i: self.vocabulary.classes[index].category_id
            for i, index in enumerate(scene.class_indices, start=1)
        }
        return PanopticAnnotation(ids=scene.ids, category_ids=ids)


def _with(config: InferenceConfig, setting: str, value: float) -> InferenceConfig:
    part, name = setting.split(".")
    changed: dict[str, Any] = {name: value}
    if part == "mase":
        return replace(config, mase=replace(config.mase, **changed))
    return replace(config, merge=replace(config.merge, **changed))
