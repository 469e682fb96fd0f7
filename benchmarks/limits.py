"""What limits a checkpoint: its outputs replaced by the truth, part by part.

Scenes are labelled as usual; then the same masks are merged again with the true IoU of each, with
true classes, or with the best mask of each true segment alone. Things are counted at each step from
a raw mask to a match, and by size those with a mask and with the right class. Prints tables and
writes `build/bench/limits.json`.

usage: python -m benchmarks.limits [--model possam-tiny]

Axes: Q mask queries, K classes, N true segments of a scene.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from benchmarks.ious import pairwise_ious
from benchmarks.report import write_json
from possam_core.evaluation.measurement import annotation
from possam_core.evaluation.panoptic_quality import (
    PanopticQualityCounts,
    category_groups,
    count_segments,
    overlap_segments,
    summarise,
    vocabulary_categories,
)
from possam_core.labels.frame import Frame, resize_logits
from possam_core.labels.panoptic import merge_masks
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.playground import PLAYGROUND
from possam_core.predictor import Predictor, load_predictor
from possam_core.training.data.labelled import GroundTruthImage, PlaygroundImages
from possam_core.training.data.scenes import SceneBatch, whole_image
from possam_core.training.tiny.clip_stage import embed_regions

OUTPUT = Path("build/bench/limits.json")
SEED, NUM_SCENES = 201, 100  # the scenes that the thresholds were chosen on
MATCH_IOU = 0.5  # a match is above it
SIZES_PX = (12, 24, 48)  # on the canvas: side of a square of the thing's area
STEPS = ("some raw mask matches it", "with its class", "above the threshold", "it is matched")


@dataclass(frozen=True, slots=True)
class Thing:
    """A true thing of a scene, and the steps that the network passes for it."""

    side_px: float
    has_mask: bool
    has_class: bool
    is_kept: bool
    is_matched: bool
    is_named_by_clip: bool  # under its true mask


@dataclass(frozen=True, slots=True)
class SceneResult:
    """One scene: counts by what was replaced, its things, and both IoUs of every mask."""

    counts: dict[str, PanopticQualityCounts]
    things: list[Thing]
    predicted_iou: Tensor  # (Q,)
    true_iou: Tensor  # (Q,)


@torch.inference_mode()
def measure_scene(predictor: Predictor, scene: GroundTruthImage) -> SceneResult:
    """Label one scene in every way."""
    model, merge = predictor.model, predictor.inference.merge
    canvas = model.config.sam.image_size
    whole = whole_image(scene.pixels, scene.ids, scene.class_indices, canvas=canvas)
    batch = whole.images
    frame = Frame(
        canvas_hw=(canvas, canvas), resized_hw=batch.resized_hw[0], image_hw=batch.image_hw[0]
    )
    (masks,) = predictor.score(predictor.classify(batch))
    ious = _true_ious(masks, scene, frame)  # (Q, N)
    counts, matched = {}, np.zeros(ious.shape[1], np.bool_)
    is_seen = predictor.vocabulary.seen_in(model.card.training_names)
    truth = scene.annotation(predictor.vocabulary)
    for name, changed in _replaced(masks, ious, scene.class_indices).items():
        merged = merge_masks(changed, predictor.vocabulary, merge, is_seen=is_seen, frame=frame)
        overlaps = overlap_segments(truth, annotation(merged.segmentation))
        counts[name] = count_segments(overlaps)
        if name == "as it is":
            matched = overlaps.matches.any(axis=1)
    classes = torch.tensor(scene.class_indices)
    is_match = ious > MATCH_IOU
    is_right = is_match & (masks.class_probs.argmax(dim=-1)[:, None] == classes)
    is_kept = is_right & (masks.scores(merge.eta) >= merge.object_threshold)[:, None]
    named = _clip_names(predictor, whole) == classes
    side = canvas / max(scene.ids.shape)
    things = [
        Thing(
            side_px=side * float(np.sqrt((scene.ids == n + 1).sum())),
            has_mask=bool(is_match[:, n].any()),
            has_class=bool(is_right[:, n].any()),
            is_kept=bool(is_kept[:, n].any()),
            is_matched=bool(matched[n]),
            is_named_by_clip=bool(named[n]),
        )
        for n, index in enumerate(scene.class_indices)
        if predictor.vocabulary.classes[index].is_thing
    ]
    return SceneResult(counts, things, masks.iou_scores, ious.amax(dim=1))


def _replaced(
    masks: ScoredMasks, ious: Tensor, class_indices: Sequence[int]
) -> dict[str, ScoredMasks]:
    """The masks with one output after another from the truth; void stays as predicted."""
    best_iou, nearest = ious.max(dim=1)
    classes = torch.tensor(class_indices)[nearest]
    probs = functional.one_hot(classes, masks.class_probs.shape[1]).float()
    best_mask = ious.argmax(dim=0).unique()  # of each true segment
    with_classes = replace(masks, class_probs=probs)
    return {
        "as it is": masks,
        "predicted IoU replaced by the true one": replace(masks, iou_scores=best_iou),
        "one best mask a segment kept, no other": masks.keep(best_mask),
        "true classes": with_classes,
        "true classes and true IoU": replace(with_classes, iou_scores=best_iou),
        "true classes on the one best mask a segment": with_classes.keep(best_mask),
    }


def _true_ious(masks: ScoredMasks, scene: GroundTruthImage, frame: Frame) -> Tensor:
    """(Q, N): IoU of each raw mask, where its logit is above 0, with each true segment."""
    claimed = (resize_logits(masks.mask_logits, frame) > 0).flatten(1)
    wanted = torch.arange(1, len(scene.class_indices) + 1)[:, None]
    return pairwise_ious(claimed, torch.from_numpy(scene.ids).flatten() == wanted)


def _clip_names(predictor: Predictor, whole: SceneBatch) -> Tensor:
    """(N,): the class that CLIP alone gives each true segment."""
    clip = predictor.model.clip
    text = clip.embed_vocabulary(predictor.vocabulary)
    return text.class_logits(embed_regions(clip, whole)).argmax(dim=-1)


def figures(predictor: Predictor, results: Sequence[SceneResult]) -> dict[str, object]:
    """PQ of each way by group of classes, shares of things by step and by size, in percent."""
    is_seen = predictor.vocabulary.seen_in(predictor.model.card.training_names)
    groups = category_groups(vocabulary_categories(predictor.vocabulary, is_seen))
    pq = {}
    for way in results[0].counts:
        counts = sum((scene.counts[way] for scene in results), PanopticQualityCounts())
        pq[way] = {name: 100 * q.pq for name, q in summarise(counts, groups).items()}
    things = [thing for scene in results for thing in scene.things]
    reached = [(t.has_mask, t.has_class, t.is_kept, t.is_matched) for t in things]
    by_size = {}
    for low, high in zip((0, *SIZES_PX), (*SIZES_PX, float("inf")), strict=True):
        some = [t for t in things if low <= t.side_px < high]
        by_size[f"{low} to {high:.0f}" if np.isfinite(high) else f"{low} and more"] = {
            "share of true things": 100 * len(some) / len(things),
            "some raw mask matches it": 100 * float(np.mean([t.has_mask for t in some])),
            "CLIP names it under its true mask": 100
            * float(np.mean([t.is_named_by_clip for t in some])),
        }
    ious = torch.cat([s.predicted_iou for s in results]), torch.cat([s.true_iou for s in results])
    return {
        "pq": pq,
        "num_things": len(things),
        "things": dict(zip(STEPS, (100 * np.mean(reached, axis=0)).tolist(), strict=True)),
        "by_size": by_size,
        "iou_correlation": float(np.corrcoef(*ious)[0, 1]),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="possam-tiny")
    model = parser.parse_args().model
    predictor = load_predictor(model, PLAYGROUND.vocabulary)
    scenes = PlaygroundImages(seed=SEED, num_scenes=NUM_SCENES, vocabulary=predictor.vocabulary)
    console = Console(stderr=True)
    results = [
        measure_scene(predictor, scenes.read(i))
        for i in track(range(NUM_SCENES), "scenes", console=console)
    ]
    found = figures(predictor, results)
    for title in ("pq", "by_size"):
        _print(title, found[title])
    Console().print(found["num_things"], found["things"], found["iou_correlation"])
    about = {"date": datetime.now(UTC).date().isoformat(), "model": model, "seed": SEED}
    write_json(OUTPUT, about | found)


def _print(title: str, rows: object) -> None:
    assert isinstance(rows, dict)
    table = Table(title, *next(iter(rows.values())))
    for name, cells in rows.items():
        table.add_row(name, *(f"{value:.1f}" for value in cells.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
