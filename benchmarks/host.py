"""The host's time for an image of 768 x 1024: what the thread that feeds a GPU does, and others.

Each part is compared with the way of 2026-11-30, kept in `benchmarks.host_before` alone. Both
sides alternate in one process, the least of five times of one thread's processor counts, and all
results must be equal. Prints a table and writes `build/bench/host.json`.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter

from benchmarks.host_before import batch_of_images, labels_of_map, rle_counts, sharpness_of_map
from benchmarks.report import write_json
from benchmarks.rle import make_ids
from benchmarks.timing import least_seconds
from possam_core.images.batch import ImageBatch, ResizedImage, resize_image, stack_images
from possam_core.labels.boundary import boundary_sharpness
from possam_core.labels.kept_masks import KeptMasks
from possam_core.labels.mask_contest import Contest
from possam_core.labels.masks import column_runs
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.panoptic import merge_kept
from possam_core.labels.rle import encode_runs
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.labels.segmentation import PanopticSegmentation
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


def curly_winners(smoothing_px: int) -> ndarray:
    """The strongest of smoothed noise, as masks of random weights are; one pixel in ten void."""
    rng = np.random.default_rng(0)
    noise = (rng.normal(size=(HEIGHT, WIDTH)).astype(np.float32) for _ in range(NUM_MASKS))
    claims = np.stack([gaussian_filter(mask, smoothing_px) for mask in noise])
    best = claims.max(axis=0)
    return np.where(best < np.quantile(best, 0.1), -1, claims.argmax(axis=0)).astype(np.int32)


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


def labels_of_runs(case: Case) -> PanopticSegmentation:
    """Today's way, from the runs that come home."""
    contest = case.kept.contest
    counts = torch.stack([contest.inside_px] * 2 + [contest.tight_px, contest.loose_px])
    runs = contest.starts, contest.winners
    Contest.of(contest.image_hw, *runs, counts, count_outside=False)
    merged = merge_kept(case.masks, case.kept, VOCABULARY, MergeConfig(), is_seen=IS_SEEN)
    return merged.segmentation


def batch_of_resized(images: list[ResizedImage]) -> ImageBatch:
    """Today's way: the decoders' threads have resized them."""
    return stack_images(images, canvas_hw=(CANVAS, CANVAS))


def resize_all(images: list[ndarray]) -> list[ResizedImage]:
    """What the decoders' threads do for today's way."""
    return [resize_image(image, (HEIGHT, WIDTH)) for image in images]


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    batch = measure_batch()
    rows = list(batch)
    for name, winner in (
        ("smooth", smooth_winners()),
        ("curly", curly_winners(32)),
        ("very curly", curly_winners(8)),
    ):
        labels, *others = measure_labels(name, make_case(winner))
        total = Row(
            "feeding thread in all",
            batch[0].old_ms + labels.old_ms,
            batch[0].new_ms + labels.new_ms,
        )
        rows += [labels, total, *others]
    table = Table("what", "old, ms", "new, ms", "share", title=f"An image, {platform.machine()}")
    for row in rows:
        table.add_row(row.what, f"{row.old_ms:.2f}", f"{row.new_ms:.2f}", f"{row.share:.3f}")
    Console().print(table)
    write_json(OUTPUT, [asdict(row) | {"share": row.share} for row in rows])


@dataclass(frozen=True, slots=True)
class Row:
    """The thread's time for an image, both ways."""

    what: str
    old_ms: float
    new_ms: float

    @property
    def share(self) -> float:
        """Of the old time."""
        return self.new_ms / self.old_ms


def _old_batch(images: list[ndarray]) -> ImageBatch:
    return batch_of_images(images, canvas=CANVAS, resized_hw=(HEIGHT, WIDTH))


def measure_batch() -> list[Row]:
    """Of the feeding thread, and of the decoders' where the work went."""
    rng = np.random.default_rng(0)
    rows = []
    for height, width in ((HEIGHT, WIDTH), (480, 640)):
        images = list(rng.integers(0, 256, (BATCH_SIZE, height, width, 3), dtype=np.uint8))
        resized = resize_all(images)
        old, new = _old_batch(images), batch_of_resized(resized)
        assert torch.equal(old.pixels, new.pixels)
        assert torch.equal(old.valid, new.valid)
        make = partial(_old_batch, images)
        name = f"batch of {BATCH_SIZE}, {width} x {height}"
        rows.append(_row(name, make, partial(batch_of_resized, resized), number=BATCH_SIZE))
        name = "... resizing, in the decoders' threads"
        rows.append(_row(name, make, partial(resize_all, images), number=BATCH_SIZE))
    return rows


def measure_labels(name: str, case: Case) -> list[Row]:
    """Of the feeding thread, and of the encoding one."""
    old, new = labels_of_map(case.winner, case.kept, VOCABULARY), labels_of_runs(case)
    assert old.segments == new.segments
    assert np.array_equal(old.ids, new.ids)
    texts = rle_counts(old.ids)
    assert [texts[s.id] for s in old.segments] == encode_runs(new.runs)
    pixels, ids, runs = case.pixels, old.ids, new.runs
    assert abs(sharpness_of_map(pixels, ids) - boundary_sharpness(pixels, runs)) < 1e-6
    what = f"labels, {name}, {len(runs.owners):,} runs"
    return [
        _row(
            what,
            partial(labels_of_map, case.winner, case.kept, VOCABULARY),
            partial(labels_of_runs, case),
        ),
        _row("... RLE", partial(rle_counts, ids), partial(encode_runs, runs)),
        _row(
            "... sharpness",
            partial(sharpness_of_map, pixels, ids),
            partial(boundary_sharpness, pixels, runs),
        ),
    ]


def _row(
    what: str, old: Callable[[], object], new: Callable[[], object], *, number: int = 1
) -> Row:
    seconds = least_seconds(old, new, clock=time.thread_time)
    old_ms, new_ms = (1e3 * s / number for s in seconds)
    return Row(what, old_ms, new_ms)


if __name__ == "__main__":
    main()
