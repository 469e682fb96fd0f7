"""Merging scored masks into one panoptic result.

Axes: S segments, N kept masks, K classes, H W pixels of the image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray
from torch import Tensor

from possam_core.labels.frame import Frame
from possam_core.labels.kept_masks import KeptMasks, MaskChoice
from possam_core.labels.mask_contest import Contest
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.pixel_runs import PixelRuns
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.labels.segmentation import PanopticSegmentation, Segment
from possam_core.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A segmentation, the masks that were merged, and what they say of each segment."""

    segmentation: PanopticSegmentation
    masks: ScoredMasks
    query_of: Mapping[int, int]  # segment id -> position of its first mask among the Q
    # Of that mask, on the CPU.
    class_probs: Float[Tensor, "S K"]
    void_probs: Float[Tensor, " S"]
    iou_scores: Float[Tensor, " S"] | None  # None: the network has no such estimate


def merge(
    masks: ScoredMasks,
    vocabulary: Vocabulary,
    config: MergeConfig,
    *,
    is_seen: Sequence[bool | None],
    frame: Frame,
) -> PanopticSegmentation:
    """The segmentation of `merge_masks` alone."""
    return merge_masks(masks, vocabulary, config, is_seen=is_seen, frame=frame).segmentation


def merge_masks(
    masks: ScoredMasks,
    vocabulary: Vocabulary,
    config: MergeConfig,
    *,
    is_seen: Sequence[bool | None],
    frame: Frame,
) -> Merged:
    """Give each pixel to the mask that claims it most strongly.

    Masks are filtered by score first, so only the kept ones are ever resized to full size. A mask
    that loses too much of itself to stronger ones is dropped; stuff of one class becomes one.

    Args:
        masks: of one image.
        vocabulary: names of the K classes.
        config: thresholds.
        is_seen: per class, whether training knew it; None: not known.
        frame: where the image lies on the canvas.
    """
    (kept,) = MaskChoice([masks], [frame], config).keep()
    return merge_kept(masks, kept, vocabulary, config, is_seen=is_seen)


def merge_kept(
    masks: ScoredMasks,
    kept: KeptMasks,
    vocabulary: Vocabulary,
    config: MergeConfig,
    *,
    is_seen: Sequence[bool | None],
) -> Merged:
    """The segments of one image, from the masks that take part and the pixels that each wins.

    Args:
        masks: all of the image.
        kept: those of them that take part.
        vocabulary: names of the K classes.
        config: thresholds.
        is_seen: per class, whether training knew it; None: not known.
    """
    owners, members = _number_segments(
        kept.contest, kept.classes, vocabulary, config.overlap_threshold
    )
    runs = _runs(kept.contest, owners, len(members))
    stability = kept.contest.tight_px / kept.contest.loose_px.clamp(min=1)
    segments = []
    for position, (mask, geometry) in enumerate(zip(members, runs.areas_and_boxes(), strict=True)):
        class_index = kept.classes[mask]
        entry = vocabulary.classes[class_index]
        segments.append(
            Segment(
                id=position + 1,
                class_index=class_index,
                category_id=entry.category_id,
                category_name=entry.name,
                is_thing=entry.is_thing,
                area_px=geometry.area_px,
                bbox_xywh=geometry.bbox_xywh,
                score=kept.scores[mask],
                predicted_iou=_known(kept.iou_scores, mask),
                margin=_known(kept.margin, mask),
                stability_score=float(stability[mask]) if kept.are_soft else None,
                entropy=_known(kept.entropy, mask),
                clip_agrees=None if kept.clip_agrees is None else bool(kept.clip_agrees[mask]),
                is_seen=is_seen[class_index],
            )
        )
    return Merged(
        segmentation=PanopticSegmentation.of_runs(runs, tuple(segments)),
        masks=masks,
        query_of={s.id: kept.queries[mask] for s, mask in zip(segments, members, strict=True)},
        class_probs=kept.class_probs[members],
        void_probs=kept.void_probs[members],
        iou_scores=None if kept.iou_scores is None else kept.iou_scores[members],
    )


def _known(values: Tensor | None, mask: int) -> float | None:
    return None if values is None else float(values[mask])


def _number_segments(
    contest: Contest, classes: list[int], vocabulary: Vocabulary, overlap_threshold: float
) -> tuple[Int64[ndarray, " N1"], list[int]]:
    """The segment of each mask, -1: of none, and the first mask of each segment.

    Segments are counted from 0 as masks come, stuff of a class as one. The last of the masks'
    segments serves pixels that no mask has won.
    """
    counted_px = contest.won_px if contest.strongest_px is None else contest.strongest_px
    share = counted_px / contest.inside_px.clamp(min=1)
    survives = (share >= overlap_threshold) & (contest.won_px > 0)
    owners = np.full(len(classes) + 1, -1, dtype=np.int64)
    of_stuff: dict[int, int] = {}
    members: list[int] = []
    for mask in survives.nonzero().flatten().tolist():
        class_index = classes[mask]
        segment = of_stuff.get(class_index, len(members))
        if not vocabulary.classes[class_index].is_thing:
            of_stuff.setdefault(class_index, segment)
        if segment == len(members):
            members.append(mask)
        owners[mask] = segment
    return owners, members


def _runs(contest: Contest, owners: Int64[ndarray, " N1"], num_segments: int) -> PixelRuns:
    """Runs of segments, from runs of masks: those of one segment that touch become one."""
    of_runs = owners[contest.winners]
    is_first = np.ones(len(of_runs), np.bool_)
    is_first[1:] = of_runs[1:] != of_runs[:-1]
    starts, of_runs = contest.starts[is_first], of_runs[is_first]
    height, width = contest.image_hw
    ends = np.append(starts[1:], height * width)
    is_segment = of_runs >= 0
    return PixelRuns(
        image_hw=contest.image_hw,
        num_segments=num_segments,
        owners=of_runs[is_segment],
        starts=starts[is_segment],
        ends=ends[is_segment],
    )
