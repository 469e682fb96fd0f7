"""Panoptic quality scene by scene, the choice of settings, and intervals by bootstrap.

Axes: S scenes, Q mask queries, K classes; the last axis of counts is TP, FP, FN, sum of IoU.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy import ndarray
from torch.nn import functional

from benchmarks.ablation.ensembles import Ensemble, settings_of
from benchmarks.ablation.evidence import Evidence, evidence_of_scenes
from benchmarks.ablation.heads import class_logits
from benchmarks.ious import pairwise_ious
from possam_core.evaluation.measurement import annotation
from possam_core.evaluation.panoptic_quality import PanopticAnnotation, count_matches
from possam_core.images.batch import ImageBatch
from possam_core.labels.frame import Frame
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.panoptic import merge
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.ldp import LocalDiscriminativePooling
from possam_core.model import PosSAM
from possam_core.playground import Scene, World, generate_scene
from possam_core.training.data.scenes import whole_image
from possam_core.vocabulary.text_embeddings import TextEmbeddings

OBJECT_THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3)
OVERLAP_THRESHOLDS = (0.5, 0.6, 0.7, 0.8)
ETAS = (0.0, 0.5, 1.0)
EVERYTHING = slice(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldOutputs:
    """Scenes of one world, a network's outputs for them, and the truth."""

    world: World
    scenes: tuple[Scene, ...]
    frames: list[ImageBatch]  # one scene each: the geometry of its canvas
    evidence: Evidence
    text: TextEmbeddings
    clip_logits: torch.Tensor  # (S, Q, K), scaled
    is_seen: torch.Tensor  # (K,), by name


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings chosen on the training world's held-out scenes."""

    ensemble: Ensemble
    merge: MergeConfig


@torch.inference_mode()
def run_on_scenes(
    model: PosSAM, world: World, *, seed: int, num_scenes: int, clip_noise: float = 0.0
) -> WorldOutputs:
    """Run a network on scenes of a world; nothing is tuned to them."""
    scenes = tuple(generate_scene(seed, i, world=world) for i in range(num_scenes))
    evidence, frames = evidence_of_scenes(model, scenes)
    evidence = evidence.blurred(clip_noise, seed)
    text = model.clip.embed_vocabulary(world.vocabulary).to(torch.device("cpu"))
    scale = model.clip.logit_scale.cpu()
    return WorldOutputs(
        world=world,
        scenes=scenes,
        frames=frames,
        evidence=evidence,
        text=text,
        clip_logits=scale * text.class_logits(evidence.clip_embeddings),
        is_seen=torch.tensor(world.vocabulary.seen_in(model.card.training_names)),
    )


@torch.inference_mode()
def count(outputs: WorldOutputs, head: LocalDiscriminativePooling, settings: Settings) -> ndarray:
    """(S, K, 4): matches of the segments of each class in each scene."""
    evidence, vocabulary = outputs.evidence, outputs.world.vocabulary
    logits = class_logits(head, evidence, outputs.text, EVERYTHING)
    void = logits.softmax(dim=-1)[..., -1]
    probs = settings.ensemble.class_probs(
        logits[..., :-1],
        outputs.clip_logits,
        evidence.iou_scores,
        evidence.has_clip,
        outputs.is_seen,
    )
    counts = np.zeros((len(outputs.scenes), len(vocabulary), 4))
    position = {c.category_id: i for i, c in enumerate(vocabulary.classes)}
    for s, (scene, frame) in enumerate(zip(outputs.scenes, outputs.frames, strict=True)):
        masks = ScoredMasks(
            mask_logits=evidence.mask_logits[s].float(),
            class_probs=probs[s],
            void_probs=void[s],
            iou_scores=evidence.iou_scores[s],
            clip_agrees=torch.ones(len(void[s]), dtype=torch.bool),
        )
        prediction = merge(
            masks,
            vocabulary,
            settings.merge,
            is_seen=outputs.is_seen.tolist(),
            frame=Frame(
                canvas_hw=(frame.pixels.shape[-2], frame.pixels.shape[-1]),
                resized_hw=frame.resized_hw[0],
                image_hw=frame.image_hw[0],
            ),
        )
        found = count_matches(truth_of(scene, outputs.world), annotation(prediction))
        for category_id, c in found.per_category.items():
            counts[s, position[category_id]] = c.tp, c.fp, c.fn, c.iou_sum
    return counts


def truth_of(scene: Scene, world: World) -> PanopticAnnotation:
    """A scene's segments in the form that is counted."""
    classes = world.vocabulary.classes
    ids = enumerate((classes[i].category_id for i in scene.class_indices), start=1)
    return PanopticAnnotation(ids=scene.ids, category_ids=dict(ids))


def pq(counts: ndarray) -> ndarray:
    """PQ of counts (..., K, 4) summed over scenes: (...), in percent, over classes that occur."""
    tp, fp, fn, iou_sum = np.moveaxis(counts, -1, 0)
    weight = tp + 0.5 * fp + 0.5 * fn
    by_class = iou_sum / np.maximum(weight, 1e-12)
    quality: ndarray = 100 * by_class.sum(axis=-1) / np.maximum((weight > 0).sum(axis=-1), 1)
    return quality


def choose(
    outputs: WorldOutputs, head: LocalDiscriminativePooling, kind: str, eta: float | None
) -> Settings:
    """The settings of one way of ensembling with the best PQ on `outputs`, by coordinate search.

    Args:
        outputs: held-out scenes of the training world.
        head: of one form.
        kind: of the ensemble.
        eta: exponent of the predicted IoU in the ranking; None: it is chosen as well.
    """
    ensembles = settings_of(kind)
    best = Settings(ensemble=ensembles[0], merge=MergeConfig(eta=1.0 if eta is None else eta))
    score = -1.0

    def consider(candidates: Sequence[Settings]) -> None:
        nonlocal best, score
        for candidate in candidates:
            found = float(pq(count(outputs, head, candidate).sum(axis=0)))
            if found > score:
                best, score = candidate, found

    for values, name in (
        (OBJECT_THRESHOLDS, "object_threshold"),
        (ETAS if eta is None else (eta,), "eta"),
        (OVERLAP_THRESHOLDS, "overlap_threshold"),
    ):
        consider([replace(best, merge=replace(best.merge, **{name: v})) for v in values])
    consider([replace(best, ensemble=e) for e in ensembles])
    consider(
        [replace(best, merge=replace(best.merge, object_threshold=v)) for v in OBJECT_THRESHOLDS]
    )
    return best


def iou_correlation(outputs: WorldOutputs) -> float:
    """Pearson's, of the predicted IoU of every mask and the best true one on the mask grid."""
    predicted, true = [], []
    grid = outputs.evidence.mask_logits.shape[-1]
    for s, scene in enumerate(outputs.scenes):
        canvas = outputs.frames[s].pixels.shape[-1]
        whole = whole_image(scene.image, scene.ids, scene.class_indices, canvas=canvas)
        (shares,) = whole.masks(grid)
        valid = functional.adaptive_avg_pool2d(whole.images.valid.float(), grid)[0].flatten() >= 0.5
        masks = (outputs.evidence.mask_logits[s] > 0).flatten(1) & valid
        true.append(pairwise_ious(masks, (shares > 0.5).flatten(1)).amax(dim=1))
        predicted.append(outputs.evidence.iou_scores[s])
    return float(np.corrcoef(torch.cat(predicted), torch.cat(true))[0, 1])


def bootstrap(first: ndarray, second: ndarray, *, rounds: int = 1_000, seed: int = 0) -> ndarray:
    """(3,): PQ of `first` minus that of `second`: mean, and the ends of a 95 % interval.

    Args:
        first: counts (seeds, S, K, 4); both of the same seeds and scenes.
        second: likewise.
        rounds: resamplings, of seeds and of scenes, the same for both sides.
        seed: of the resamplings.
    """
    rng = np.random.default_rng(seed)
    num_seeds, num_scenes = first.shape[:2]
    weights = rng.multinomial(num_scenes, np.full(num_scenes, 1 / num_scenes), size=rounds)
    drawn = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=rounds) / num_seeds
    by_seed = [
        pq(np.einsum("rs,skc->rkc", weights, a)) - pq(np.einsum("rs,skc->rkc", weights, b))
        for a, b in zip(first, second, strict=True)
    ]
    differences = (np.stack(by_seed, axis=1) * drawn).sum(axis=1)
    mean = np.mean([pq(a.sum(0)) - pq(b.sum(0)) for a, b in zip(first, second, strict=True)])
    return np.array([mean, *np.percentile(differences, [2.5, 97.5])])
