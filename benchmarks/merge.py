"""Cost of merging 250 masks into one map, next to the loops of Mask2Former and of FC-CLIP.

Mask2Former's loop resizes every query to the image's size, takes the sigmoid of all, and then
counts the pixels of each kept mask separately; both sides merge by PosSAM's rules, 30 masks pass.
FC-CLIP's does so by its own rules: no threshold, so that every mask takes part that is not void,
here 30 or all 250, and its masks cover the padded image with the short side at 800 pixels.

Both sides alternate in one process, the least of five times counts, and the map and every segment
must agree. The peak memory of each side is the kernel's high-water mark of resident memory (VmHWM,
reset before the call) in a process of its own. Prints a table and writes `build/bench/merge.json`.
"""

import multiprocessing
import platform
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from benchmarks.report import write_json
from benchmarks.timing import least_seconds
from possam_core.labels.frame import Frame
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.panoptic import merge
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass

OUTPUT = Path("build/bench/merge.json")
NUM_QUERIES = 250
NUM_KEPT = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is merged, and by which rules."""

    frame: Frame
    num_kept: int = NUM_KEPT
    config: MergeConfig = field(default_factory=MergeConfig)

    @property
    def grid_hw(self) -> tuple[int, int]:
        """The masks have a cell for each 4 x 4 pixels of the canvas."""
        return self.frame.canvas_hw[0] // 4, self.frame.canvas_hw[1] // 4


LARGE = Frame(canvas_hw=(1024, 1024), resized_hw=(1024, 1024), image_hw=(1024, 1024))
FC_CLIP = MergeConfig(rules="mask2former", object_threshold=0.0, overlap_threshold=0.8, eta=0.0)
FC_CLIP_FRAME = Frame(canvas_hw=(800, 800), resized_hw=(800, 800), image_hw=(1024, 1024))
CASES = {
    "640 x 480": Case(
        frame=Frame(canvas_hw=(1024, 1024), resized_hw=(768, 1024), image_hw=(480, 640))
    ),
    "1024 x 1024": Case(frame=LARGE),
    "FC-CLIP, 30 not void": Case(frame=FC_CLIP_FRAME, config=FC_CLIP),
    "FC-CLIP, none void": Case(frame=FC_CLIP_FRAME, config=FC_CLIP, num_kept=NUM_QUERIES),
}
VOCABULARY = Vocabulary(
    name="bench",
    classes=tuple(
        VocabularyClass(category_id=i + 1, name=f"class {i}", is_thing=i < 80) for i in range(133)
    ),
)
IS_SEEN = (True,) * len(VOCABULARY.classes)


def make_masks(num_kept: int, grid_hw: tuple[int, int]) -> ScoredMasks:
    """Soft ellipses of all sizes with uneven borders; the first so many in some order are no void.

    Their scores are those of a sure classifier times one minus void; the others' are about 0.03.
    """
    rng = torch.Generator().manual_seed(0)
    centres = torch.rand((NUM_QUERIES, 2, 1, 1), generator=rng)
    radii = 0.03 * 20 ** torch.rand((NUM_QUERIES, 2, 1, 1), generator=rng)  # 3 % to 60 % of a side
    lines = [(torch.arange(side) + 0.5) / side for side in grid_hw]
    places = torch.stack(torch.meshgrid(*lines, indexing="ij"))  # (2, h, w)
    distances = (((places - centres) / radii) ** 2).sum(dim=1).sqrt()  # (Q, h, w), 1 on the border
    bumps = torch.randn((NUM_QUERIES, 1, 16, 16), generator=rng)
    uneven = functional.interpolate(bumps, size=grid_hw, mode="bicubic")[:, 0]
    order = torch.randperm(NUM_QUERIES, generator=rng)
    void_probs = torch.full((NUM_QUERIES,), 0.97)
    void_probs[order[:num_kept]] = 0.5 * torch.rand(num_kept, generator=rng)
    class_logits = 3 * torch.randn((NUM_QUERIES, len(VOCABULARY.classes)), generator=rng)
    class_logits[order, order % len(VOCABULARY.classes)] += 12  # the classifier is confident
    return ScoredMasks(
        mask_logits=(8 * (1 - distances) + uneven).clamp(-12, 12),
        class_probs=class_logits.softmax(dim=-1),
        void_probs=void_probs,
        iou_scores=0.5 + 0.5 * torch.rand(NUM_QUERIES, generator=rng),
        clip_agrees=torch.ones(NUM_QUERIES, dtype=torch.bool),
    )


def merge_ours(masks: ScoredMasks, case: Case) -> PanopticSegmentation:
    """The map and segments of possam_core."""
    return merge(masks, VOCABULARY, case.config, is_seen=IS_SEEN, frame=case.frame)


Found = tuple[np.ndarray, list[tuple[int, int, int]]]  # map; id, class index, area of each segment


def merge_by_loop(masks: ScoredMasks, case: Case) -> Found:
    """The loop by the rules of the case."""
    probs = all_at_full_size(masks, case.frame)
    scores = masks.scores(case.config.eta)
    if case.config.rules == "mask2former":
        everything = torch.cat([scores[:, None], masks.void_probs[:, None]], dim=1)
        is_kept = (everything.argmax(dim=1) == 0) & (scores > case.config.object_threshold)
        chosen = is_kept.nonzero().flatten()
    else:
        chosen = scores.argsort(descending=True, stable=True)
        chosen = chosen[scores[chosen] >= case.config.object_threshold]
    kept = probs[chosen]
    strongest = (scores[chosen][:, None, None] * kept).argmax(dim=0)
    ids = torch.zeros(case.frame.image_hw, dtype=torch.int32)
    classes: dict[int, int] = {}
    id_of_stuff: dict[int, int] = {}
    for index, class_index in enumerate(masks.class_probs[chosen].argmax(dim=-1).tolist()):
        inside = kept[index] >= 0.5
        owned = strongest == index
        won = owned & inside
        counted = owned if case.config.rules == "mask2former" else won
        inside_px, won_px, counted_px = (int(m.sum()) for m in (inside, won, counted))
        if not won_px or counted_px / inside_px < case.config.overlap_threshold:
            continue
        segment_id = id_of_stuff.get(class_index, len(classes) + 1)
        if not VOCABULARY.classes[class_index].is_thing:
            id_of_stuff[class_index] = segment_id
        classes[segment_id] = class_index
        ids[won] = segment_id
    areas = {i: int((ids == i).sum()) for i in classes}
    return ids.numpy(), [(i, c, areas[i]) for i, c in classes.items()]


def all_at_full_size(masks: ScoredMasks, frame: Frame) -> torch.Tensor:
    """(Q, H, W): the sigmoid of every query's mask at the image's size."""
    height, width = frame.resized_hw
    logits = functional.interpolate(
        masks.mask_logits[None], size=frame.canvas_hw, mode="bilinear", align_corners=False
    )[..., :height, :width]
    logits = functional.interpolate(
        logits, size=frame.image_hw, mode="bilinear", align_corners=False
    )
    return logits[0].sigmoid()


def check_agreement(masks: ScoredMasks, case: Case) -> int:
    """The number of segments, after checking that both sides give equal segments and pixels.

    Also with every winner a segment, for among many masks few win most of themselves.
    """
    for config in (replace(case.config, overlap_threshold=0.0), case.config):
        checked = replace(case, config=config)
        ours, (ids, segments) = merge_ours(masks, checked), merge_by_loop(masks, checked)
        np.testing.assert_array_equal(ours.ids, ids)
        assert [(s.id, s.class_index, s.area_px) for s in ours.segments] == segments
    return len(segments)


def peak_bytes(side: str, name: str) -> int:
    """The rise of resident memory when one side merges once."""
    case = CASES[name]
    masks, grid = make_masks(case.num_kept, case.grid_hw), case.grid_hw
    function = {"ours": merge_ours, "loop": merge_by_loop}[side]
    tiny = Frame(canvas_hw=grid, resized_hw=grid, image_hw=grid)
    function(masks, replace(case, frame=tiny))  # so that no import or thread start is counted
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident_kib("VmRSS")
    function(masks, case)
    return 1024 * (_resident_kib("VmHWM") - before)


def _resident_kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def measure_peak(side: str, name: str) -> int:
    """`peak_bytes` in a fresh process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(peak_bytes, side, name).result()


def measure(name: str) -> dict[str, float]:
    """Times, peaks and their ratios of one case."""
    case = CASES[name]
    masks = make_masks(case.num_kept, case.grid_hw)
    num_segments = check_agreement(masks, case)
    ours_s, loop_s = least_seconds(
        lambda: merge_ours(masks, case), lambda: merge_by_loop(masks, case)
    )
    ours_bytes, loop_bytes = measure_peak("ours", name), measure_peak("loop", name)
    return {
        "kept": case.num_kept,
        "segments": num_segments,
        "ours_ms": 1e3 * ours_s,
        "loop_ms": 1e3 * loop_s,
        "times_as_fast": loop_s / ours_s,
        "ours_peak_mib": ours_bytes / 2**20,
        "loop_peak_mib": loop_bytes / 2**20,
        "share_of_memory": ours_bytes / loop_bytes,
        "allowed_share_of_memory": case.num_kept / NUM_QUERIES + 0.1,
    }


def main() -> None:
    """Measure, print, write."""
    rows = {name: measure(name) for name in CASES}
    title = f"merge, {platform.machine()}, {torch.get_num_threads()} threads"
    table = Table("measured", *rows, title=title)
    for figure in next(iter(rows.values())):
        table.add_row(figure, *(f"{row[figure]:.4g}" for row in rows.values()))
    Console().print(table)
    write_json(OUTPUT, {"threads": torch.get_num_threads(), **rows})


if __name__ == "__main__":
    main()
