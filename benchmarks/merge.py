"""Cost of merging 250 masks into one map, next to a loop in the manner of Mask2Former.

The loop resizes every query to the image's size, takes the sigmoid of all, and then counts the
pixels of each kept mask separately. Both sides alternate in one process, the least of five times
counts, and the map and every segment must agree. The peak memory of each side is the kernel's
high-water mark of resident memory (VmHWM, reset before the call) in a process of its own. Prints a
table and writes `build/bench/merge.json`.
"""

import multiprocessing
import platform
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from benchmarks.report import write_json
from benchmarks.timing import least_seconds
from possam_core.labels.mask_contest import Frame
from possam_core.labels.panoptic import MergeConfig, ScoredMasks, merge
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass

OUTPUT = Path("build/bench/merge.json")
FRAMES = {
    "640 x 480": Frame(canvas_hw=(1024, 1024), resized_hw=(768, 1024), image_hw=(480, 640)),
    "1024 x 1024": Frame(canvas_hw=(1024, 1024), resized_hw=(1024, 1024), image_hw=(1024, 1024)),
}
NUM_QUERIES = 250
NUM_KEPT = 30
GRID = 256
CONFIG = MergeConfig()
VOCABULARY = Vocabulary(
    name="bench",
    classes=tuple(
        VocabularyClass(category_id=i + 1, name=f"class {i}", is_thing=i < 80) for i in range(133)
    ),
)
IS_SEEN = (True,) * len(VOCABULARY.classes)


def make_masks() -> ScoredMasks:
    """Soft ellipses of all sizes with uneven borders; 30 of 250 pass the score threshold."""
    rng = torch.Generator().manual_seed(0)
    centres = torch.rand((NUM_QUERIES, 2, 1, 1), generator=rng)
    radii = 0.03 * 20 ** torch.rand((NUM_QUERIES, 2, 1, 1), generator=rng)  # 3 % to 60 % of a side
    line = (torch.arange(GRID) + 0.5) / GRID
    places = torch.stack(torch.meshgrid(line, line, indexing="ij"))  # (2, h, w)
    distances = (((places - centres) / radii) ** 2).sum(dim=1).sqrt()  # (Q, h, w), 1 on the border
    bumps = torch.randn((NUM_QUERIES, 1, 16, 16), generator=rng)
    uneven = functional.interpolate(bumps, size=(GRID, GRID), mode="bicubic")[:, 0]
    order = torch.randperm(NUM_QUERIES, generator=rng)
    void_probs = torch.full((NUM_QUERIES,), 0.97)
    void_probs[order[:NUM_KEPT]] = 0.5 * torch.rand(NUM_KEPT, generator=rng)
    class_logits = 3 * torch.randn((NUM_QUERIES, len(VOCABULARY.classes)), generator=rng)
    class_logits[order, order % len(VOCABULARY.classes)] += 12  # the classifier is confident
    return ScoredMasks(
        mask_logits=(8 * (1 - distances) + uneven).clamp(-12, 12),
        class_probs=class_logits.softmax(dim=-1),
        void_probs=void_probs,
        iou_scores=0.5 + 0.5 * torch.rand(NUM_QUERIES, generator=rng),
        clip_agrees=torch.ones(NUM_QUERIES, dtype=torch.bool),
    )


def merge_ours(masks: ScoredMasks, frame: Frame) -> PanopticSegmentation:
    """The map and segments of possam_core."""
    return merge(
        masks,
        VOCABULARY,
        CONFIG,
        is_seen=IS_SEEN,
        frame=frame,
    )


def merge_by_loop(
    masks: ScoredMasks, frame: Frame
) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """The map, and (id, class index, area) of each segment."""
    height, width = frame.resized_hw
    logits = functional.interpolate(masks.mask_logits[None], size=frame.canvas_hw, mode="bilinear")[
        ..., :height, :width
    ]
    probs = functional.interpolate(logits, size=frame.image_hw, mode="bilinear")[0].sigmoid()
    scores = masks.scores(CONFIG.eta)
    chosen = scores.argsort(descending=True, stable=True)
    chosen = chosen[scores[chosen] >= CONFIG.object_threshold]
    kept = probs[chosen]
    strongest = (scores[chosen][:, None, None] * kept).argmax(dim=0)
    ids = torch.zeros(frame.image_hw, dtype=torch.int32)
    classes: dict[int, int] = {}
    id_of_stuff: dict[int, int] = {}
    for index, class_index in enumerate(masks.class_probs[chosen].argmax(dim=-1).tolist()):
        inside = kept[index] >= 0.5
        won = (strongest == index) & inside
        inside_px, won_px = inside.sum().item(), won.sum().item()
        if not won_px or won_px / inside_px < CONFIG.overlap_threshold:
            continue
        segment_id = id_of_stuff.get(class_index, len(classes) + 1)
        if not VOCABULARY.classes[class_index].is_thing:
            id_of_stuff[class_index] = segment_id
        classes[segment_id] = class_index
        ids[won] = segment_id
    areas = {i: int((ids == i).sum()) for i in classes}
    return ids.numpy(), [(i, c, areas[i]) for i, c in classes.items()]


def check_agreement(masks: ScoredMasks, frame: Frame) -> int:
    """The number of segments, after checking that both sides give equal segments and pixels."""
    ours, (ids, segments) = merge_ours(masks, frame), merge_by_loop(masks, frame)
    np.testing.assert_array_equal(ours.ids, ids)
    assert [(s.id, s.class_index, s.area_px) for s in ours.segments] == segments
    return len(segments)


def peak_bytes(side: str, size: str) -> int:
    """The rise of resident memory when one side merges once."""
    masks, frame = make_masks(), FRAMES[size]
    function = {"ours": merge_ours, "loop": merge_by_loop}[side]
    tiny = Frame(canvas_hw=(GRID, GRID), resized_hw=(GRID, GRID), image_hw=(GRID, GRID))
    function(masks, tiny)  # so that no import or thread start is counted
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident_kib("VmRSS")
    function(masks, frame)
    return 1024 * (_resident_kib("VmHWM") - before)


def _resident_kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def measure_peak(side: str, size: str) -> int:
    """`peak_bytes` in a fresh process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(peak_bytes, side, size).result()


def measure(size: str) -> dict[str, float]:
    """Times, peaks and their ratios for one size of image."""
    masks, frame = make_masks(), FRAMES[size]
    num_segments = check_agreement(masks, frame)
    num_kept = int((masks.scores(CONFIG.eta) >= CONFIG.object_threshold).sum())
    ours_s, loop_s = least_seconds(
        lambda: merge_ours(masks, frame), lambda: merge_by_loop(masks, frame)
    )
    ours_bytes, loop_bytes = measure_peak("ours", size), measure_peak("loop", size)
    return {
        "kept": num_kept,
        "segments": num_segments,
        "ours_ms": 1e3 * ours_s,
        "loop_ms": 1e3 * loop_s,
        "times_as_fast": loop_s / ours_s,
        "ours_peak_mib": ours_bytes / 2**20,
        "loop_peak_mib": loop_bytes / 2**20,
        "share_of_memory": ours_bytes / loop_bytes,
        "allowed_share_of_memory": num_kept / NUM_QUERIES + 0.1,
    }


def main() -> None:
    """Measure, print, write."""
    rows = {size: measure(size) for size in FRAMES}
    title = f"merge, {platform.machine()}, {torch.get_num_threads()} threads"
    table = Table("measured", *rows, title=title)
    for name in next(iter(rows.values())):
        table.add_row(name, *(f"{row[name]:.4g}" for row in rows.values()))
    Console().print(table)
    write_json(OUTPUT, {"threads": torch.get_num_threads(), **rows})


if __name__ == "__main__":
    main()
