"""The host's time for an image of 768 x 1024: what the thread that feeds a GPU does, and others.

Each part is compared with the way of 2026-11-30, which is kept here alone: it worked on maps of
ids, in the feeding thread. Both sides alternate in one process, the least of five times of one
thread's processor counts, and all results must be equal. Prints a table and writes
`build/bench/host.json`.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from benchmarks.report import write_json
from benchmarks.rle import make_ids
from benchmarks.timing import least_seconds
from possam_core.images.batch import ImageBatch, ResizedImage, resize_image, stack_images
from possam_core.labels.boundary import boundary_sharpness
from possam_core.labels.kept_masks import KeptMasks
from possam_core.labels.mask_contest import Contest
from possam_core.labels.masks import areas_and_boxes, column_runs
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.panoptic import merge_kept
from possam_core.labels.rle import encode_runs, rle_counts
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.labels.segmentation import PanopticSegmentation, Segment
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass

OUTPUT = Path("build/bench/host.json")
HEIGHT, WIDTH, CANVAS = 768, 1024, 1024
NUM_MASKS = 30
BATCH_SIZE = 8
VOCABULARY = Vocabulary(
    name="bench",
    classes=tuple(
        VocabularyClass(category_id=i + 1, name=f"class {i}", is_thing=i < 80) for i in range(133)
    ),
)
IS_SEEN = (True,) * len(VOCABULARY.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An image whose masks have won their pixels."""

    pixels: ndarray  # (H, W, 3)
    winner: ndarray  # (H, W)
    kept: KeptMasks
    masks: ScoredMasks


def smooth_winners() -> ndarray:
    """Outlines that waver by a few pixels."""
    return make_ids(HEIGHT, WIDTH, NUM_MASKS) - 1


def curly_winners() -> ndarray:
    """The strongest of smoothed noise, the worst case that masks of random weights give."""
    noise = np.random.default_rng(0).normal(size=(NUM_MASKS, HEIGHT, WIDTH)).astype(np.float32)
    claims = np.stack([gaussian_filter(mask, 8) for mask in noise])
    winner: ndarray = claims.argmax(axis=0).astype(np.int32)
    return np.where(claims.max(axis=0) < np.quantile(claims.max(axis=0), 0.1), -1, winner)


def make_case(winner: ndarray) -> Case:
    """Noise under masks of a sure classifier, of 30 classes."""
    rng = torch.Generator().manual_seed(0)
    num_px = np.bincount(winner.ravel() + 1, minlength=NUM_MASKS + 1)[1:]
    counts = torch.from_numpy(np.stack([num_px] * 4))
    contest = Contest.of((HEIGHT, WIDTH), *column_runs(winner), counts, count_outside=False)
    probs = torch.rand((NUM_MASKS, len(VOCABULARY.classes)), generator=rng).softmax(dim=-1)
    shares = torch.rand((5, NUM_MASKS), generator=rng)
    kept = KeptMasks(
        queries=list(range(NUM_MASKS)),
        classes=list(range(66, 66 + NUM_MASKS)),
        scores=shares[0].tolist(),
        class_probs=probs,
        void_probs=shares[1],
        iou_scores=shares[2],
        clip_agrees=shares[3] > 0.5,
        margin=shares[3],
        entropy=shares[4],
        are_soft=True,
        contest=contest,
    )
    masks = ScoredMasks(
        mask_logits=torch.zeros(NUM_MASKS, 1, 1),
        class_probs=probs,
        void_probs=shares[1],
        iou_scores=shares[2],
        clip_agrees=kept.clip_agrees,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Case(pixels=pixels, winner=winner, kept=kept, masks=masks)


def labels_of_map(case: Case) -> PanopticSegmentation:
    """The old way: the winners' map is home, and is numbered and measured pixel by pixel."""
    kept, winner = case.kept, case.winner
    won_px = np.bincount(winner.ravel() + 1, minlength=NUM_MASKS + 1)[1:]
    stability = (kept.contest.tight_px / kept.contest.loose_px.clamp(min=1)).tolist()
    assert kept.iou_scores is not None
    assert kept.clip_agrees is not None
    assert kept.margin is not None
    assert kept.entropy is not None
    ious, agrees = kept.iou_scores.tolist(), kept.clip_agrees.tolist()
    margins, entropies = kept.margin.tolist(), kept.entropy.tolist()
    id_of_mask = np.zeros(NUM_MASKS + 1, np.int32)
    members = np.flatnonzero(won_px).tolist()  # all classes differ, so each mask is a segment
    id_of_mask[members] = np.arange(1, len(members) + 1)
    ids = id_of_mask[winner]
    geometry = areas_and_boxes(ids)
    segments = []
    for segment_id, mask in enumerate(members, start=1):
        entry = VOCABULARY.classes[kept.classes[mask]]
        segments.append(
            Segment(
                id=segment_id,
                class_index=kept.classes[mask],
                category_id=entry.category_id,
                category_name=entry.name,
                is_thing=entry.is_thing,
                area_px=geometry[segment_id].area_px,
                bbox_xywh=geometry[segment_id].bbox_xywh,
                score=kept.scores[mask],
                predicted_iou=ious[mask],
                margin=margins[mask],
                stability_score=stability[mask],
                entropy=entropies[mask],
                clip_agrees=agrees[mask],
                is_seen=IS_SEEN[kept.classes[mask]],
            )
        )
    return PanopticSegmentation(ids=ids, segments=tuple(segments))


def labels_of_runs(case: Case) -> PanopticSegmentation:
    """Today's way, from the runs that come home."""
    contest = case.kept.contest
    counts = torch.stack([contest.inside_px] * 2 + [contest.tight_px, contest.loose_px])
    runs = contest.starts, contest.winners
    Contest.of(contest.image_hw, *runs, counts, count_outside=False)
    merged = merge_kept(case.masks, case.kept, VOCABULARY, MergeConfig(), is_seen=IS_SEEN)
    return merged.segmentation


def batch_of_images(images: list[ndarray]) -> ImageBatch:
    """The old way: the feeding thread resizes all images."""
    pixels = torch.zeros((len(images), 3, CANVAS, CANVAS), dtype=torch.uint8)
    valid = torch.zeros((len(images), CANVAS, CANVAS), dtype=torch.bool)
    for i, image in enumerate(images):
        chw = torch.from_numpy(image).permute(2, 0, 1)[None]
        pixels[i, :, :HEIGHT, :WIDTH] = functional.interpolate(
            chw, size=(HEIGHT, WIDTH), mode="bilinear", antialias=True
        )[0]
        valid[i, :HEIGHT, :WIDTH] = True
    sizes = ((HEIGHT, WIDTH),) * len(images)
    return ImageBatch(pixels, valid, sizes, tuple((i.shape[0], i.shape[1]) for i in images))


def batch_of_resized(images: list[ResizedImage]) -> ImageBatch:
    """Today's way: the decoders' threads have resized them."""
    return stack_images(images, canvas_hw=(CANVAS, CANVAS))


def sharpness_of_map(pixels: ndarray, ids: ndarray) -> float:
    """The old way: whole maps are compared."""
    every = max(1, min(ids.shape) // 64)
    on_borders, on_grid = [], []
    for axis in (0, 1):
        lines, colours = np.moveaxis(ids, axis, 0), np.moveaxis(pixels, axis, 0)
        on_borders.append(_contrasts(colours, *np.nonzero(lines[1:] != lines[:-1])))
        places = np.indices(lines[:-1:every, ::every].shape).reshape(2, -1) * every
        on_grid.append(_contrasts(colours, *places))
    return float(np.mean(np.concatenate(on_borders) > np.median(np.concatenate(on_grid))))


def _contrasts(colours: ndarray, first: ndarray, across: ndarray) -> ndarray:
    before, after = np.maximum(first - 1, 0), np.minimum(first + 2, len(colours) - 1)
    differences = colours[before, across].astype(np.int16) - colours[after, across]
    contrasts: ndarray = np.abs(differences).sum(axis=-1, dtype=np.int64)
    return contrasts


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    rows = [*batch_rows()]
    for name, winner in (("smooth", smooth_winners()), ("curly", curly_winners())):
        rows += label_rows(name, make_case(winner))
    table = Table(*rows[0], title=f"The host's time for an image, {platform.machine()}")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    write_json(OUTPUT, rows)


Row = dict[str, object]


def batch_rows() -> list[Row]:
    """Of the feeding thread, and of the decoders' where the work went."""
    rows = []
    for image_hw in ((HEIGHT, WIDTH), (HEIGHT * 5 // 8, WIDTH * 5 // 8)):
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (*image_hw, 3), dtype=np.uint8) for _ in range(BATCH_SIZE)]
        resized = [resize_image(image, (HEIGHT, WIDTH)) for image in images]
        old, new = batch_of_images(images), batch_of_resized(resized)
        assert torch.equal(old.pixels, new.pixels)
        assert torch.equal(old.valid, new.valid)
        name = f"{image_hw[0]} x {image_hw[1]}"
        rows += [
            _row(
                f"batch of {name}",
                lambda images=images: batch_of_images(images),
                lambda resized=resized: batch_of_resized(resized),
                number=BATCH_SIZE,
            ),
            _row(
                "... resizing, in the decoders' threads",
                lambda images=images: batch_of_images(images),
                lambda images=images: [resize_image(i, (HEIGHT, WIDTH)) for i in images],
                number=BATCH_SIZE,
            ),
        ]
    return rows


def label_rows(name: str, case: Case) -> list[Row]:
    """Of the feeding thread, and of the encoding one."""
    old, new = labels_of_map(case), labels_of_runs(case)
    assert old.segments == new.segments
    assert np.array_equal(old.ids, new.ids)
    texts = rle_counts(old.ids)
    assert [texts[s.id] for s in old.segments] == encode_runs(new.runs)
    pixels, ids, runs = case.pixels, old.ids, new.runs
    assert abs(sharpness_of_map(pixels, ids) - boundary_sharpness(pixels, runs)) < 1e-6
    what = f"{name}, {len(runs.owners):,} runs"
    return [
        _row(f"labels, {what}", lambda: labels_of_map(case), lambda: labels_of_runs(case)),
        _row("... RLE", lambda: rle_counts(ids), lambda: encode_runs(runs)),
        _row(
            "... sharpness",
            lambda: sharpness_of_map(pixels, ids),
            lambda: boundary_sharpness(pixels, runs),
        ),
    ]


def _row(
    what: str, old: Callable[[], object], new: Callable[[], object], *, number: int = 1
) -> Row:
    seconds = least_seconds(old, new, clock=time.thread_time)
    old_ms, new_ms = (1e3 * s / number for s in seconds)
    return {
        "what": what,
        "old_ms": round(old_ms, 2),
        "new_ms": round(new_ms, 2),
        "share": round(new_ms / old_ms, 3),
    }


if __name__ == "__main__":
    main()
