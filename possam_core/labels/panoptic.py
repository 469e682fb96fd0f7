"""Panoptic results: one id map and what each id is; and merging scored masks into one.

Axes: Q mask queries, N kept masks, K classes, h w mask grid, H W pixels of the image.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32, Int64
from numpy import ndarray
from torch import Tensor

from possam_core.labels.mask_contest import Contest, Frame, assign_pixels
from possam_core.labels.masks import VOID_ID, areas_and_boxes
from possam_core.labels.segmentation import PanopticSegmentation, Segment
from possam_core.settings import Setting, require_valid
from possam_core.vocabulary.vocabulary import Vocabulary

MergeRules = Literal["possam", "mask2former"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConfig:
    """Which masks become segments.

    The rules of Mask2Former, which FC-CLIP uses, too, also drop a mask that is void rather than
    any class, ask for a score above the threshold, number masks as the queries come, and count
    towards a mask's share the pixels where it is the strongest outside of itself.
    """

    rules: Annotated[MergeRules, Setting("whose rules for dropping masks")] = "possam"
    object_threshold: Annotated[float, Setting("least score of a mask", ge=0, le=1)] = 0.1
    overlap_threshold: Annotated[
        float, Setting("least share of its own pixels that a mask must win", ge=0, le=1)
    ] = 0.6
    eta: Annotated[
        float, Setting("exponent of the predicted IoU in a mask's score; 0 ignores it", ge=0)
    ] = 1.0

    def __post_init__(self) -> None:
        require_valid(self, prefix="merge.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredMasks:
    """A network's output for one image; what it does not estimate is None, and never made up."""

    mask_logits: Float[Tensor, "Q h w"]  # over the canvas
    class_probs: Float[Tensor, "Q K"]  # without void, in [0, 1]
    void_probs: Float[Tensor, " Q"]
    iou_scores: Float[Tensor, " Q"] | None  # predicted IoU
    clip_agrees: Bool[Tensor, " Q"] | None  # the trained classifier and CLIP name the same class
    is_distribution: bool = True  # class_probs hold all classes; False: a score of the best alone
    are_masks_soft: bool = True  # mask_logits are more than inside and outside

    def scores(self, eta: float) -> Float[Tensor, " Q"]:
        """How much each mask deserves its pixels: its presence times its best class."""
        best = self.class_probs.amax(dim=-1)
        return presence(self.iou_scores, self.void_probs, eta=eta) * best

    def keep(self, chosen: Int64[Tensor, " N"]) -> "ScoredMasks":
        """The masks at `chosen` alone, in that order."""
        return replace(
            self,
            mask_logits=self.mask_logits[chosen],
            class_probs=self.class_probs[chosen],
            void_probs=self.void_probs[chosen],
            iou_scores=None if self.iou_scores is None else self.iou_scores[chosen],
            clip_agrees=None if self.clip_agrees is None else self.clip_agrees[chosen],
        )


def presence(
    iou_scores: Float[Tensor, " N"] | None, void_probs: Float[Tensor, " N"], *, eta: float
) -> Float[Tensor, " N"]:
    """How surely each mask is of something: IoU^eta * (1 - void); without IoU, 1 - void."""
    if iou_scores is None:
        return 1 - void_probs
    return iou_scores.clamp(min=0) ** eta * (1 - void_probs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A segmentation, the masks that were merged, and which of them each segment is of."""

    segmentation: PanopticSegmentation
    masks: ScoredMasks
    query_of: Mapping[int, int]  # segment id -> position of its first mask among the Q


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
    scores = masks.scores(config.eta)
    chosen = _choose(masks, scores, config)
    kept, kept_scores = masks.keep(chosen), scores[chosen]
    counts_outside = config.rules == "mask2former"
    contest = assign_pixels(kept.mask_logits, kept_scores, frame, count_outside=counts_outside)
    # Whole lists: each number that is fetched by itself would wait for a GPU by itself.
    kept_classes = kept.class_probs.argmax(dim=-1).tolist()
    score, queries = kept_scores.tolist(), chosen.tolist()
    ids, members = _number_segments(contest, kept_classes, vocabulary, config.overlap_threshold)
    geometry = areas_and_boxes(ids)
    figures = _MaskFigures.of(kept, contest)
    segments = []
    for segment_id, mask in members.items():
        entry = vocabulary.classes[kept_classes[mask]]
        segments.append(
            Segment(
                id=segment_id,
                class_index=kept_classes[mask],
                category_id=entry.category_id,
                category_name=entry.name,
                is_thing=entry.is_thing,
                area_px=geometry[segment_id].area_px,
                bbox_xywh=geometry[segment_id].bbox_xywh,
                score=score[mask],
                predicted_iou=figures.predicted_iou[mask],
                margin=figures.margin[mask],
                stability_score=figures.stability[mask],
                entropy=figures.entropy[mask],
                clip_agrees=figures.clip_agrees[mask],
                is_seen=is_seen[kept_classes[mask]],
            )
        )
    return Merged(
        segmentation=PanopticSegmentation(ids=ids, segments=tuple(segments)),
        masks=masks,
        query_of={segment_id: queries[mask] for segment_id, mask in members.items()},
    )


def _choose(
    masks: ScoredMasks, scores: Float[Tensor, " Q"], config: MergeConfig
) -> Int64[Tensor, " N"]:
    """Positions of the masks that take part; of equal claims the first wins."""
    if config.rules == "mask2former":
        is_class = masks.scores(0.0) >= masks.void_probs
        return (is_class & (scores > config.object_threshold)).nonzero().flatten()
    order = scores.argsort(descending=True, stable=True)
    return order[scores[order] >= config.object_threshold]


@dataclass(frozen=True, slots=True, kw_only=True)
class _MaskFigures:
    """Figures of each kept mask; None where the network does not know them."""

    predicted_iou: Sequence[float | None]
    clip_agrees: Sequence[bool | None]
    margin: Sequence[float | None]
    entropy: Sequence[float | None]
    stability: Sequence[float | None]

    @classmethod
    def of(cls, kept: ScoredMasks, contest: Contest) -> "_MaskFigures":
        unknown = [None] * len(kept.mask_logits)
        margin, entropy = (
            _margin_and_entropy(kept.class_probs) if kept.is_distribution else (unknown, unknown)
        )
        stability = contest.tight_px / contest.loose_px.clamp(min=1)
        return cls(
            predicted_iou=unknown if kept.iou_scores is None else kept.iou_scores.tolist(),
            clip_agrees=unknown if kept.clip_agrees is None else kept.clip_agrees.tolist(),
            margin=margin,
            entropy=entropy,
            stability=stability.tolist() if kept.are_masks_soft else unknown,
        )


def _margin_and_entropy(probs: Tensor) -> tuple[list[float], list[float]]:
    num_classes = probs.shape[-1]
    top = probs.topk(min(2, num_classes), dim=-1).values
    margin = top[:, 0] - top[:, 1] if num_classes > 1 else top[:, 0]
    entropy = -torch.special.xlogy(probs, probs).sum(dim=-1) / math.log(max(num_classes, 2))
    return margin.tolist(), entropy.clamp(0, 1).tolist()


def _number_segments(
    contest: Contest, classes: list[int], vocabulary: Vocabulary, overlap_threshold: float
) -> tuple[Int32[ndarray, "H W"], dict[int, int]]:
    """Ids 1, 2, ... as masks come, stuff of a class under one id; and the first mask of each."""
    counted_px = contest.won_px if contest.strongest_px is None else contest.strongest_px
    share = counted_px / contest.inside_px.clamp(min=1)
    survives = (share >= overlap_threshold) & (contest.won_px > 0)
    id_of_mask = np.full(len(classes) + 1, VOID_ID, dtype=np.int32)  # the last serves winner -1
    id_of_stuff: dict[int, int] = {}
    members: dict[int, int] = {}
    for mask in survives.nonzero().flatten().tolist():
        class_index = classes[mask]
        segment_id = id_of_stuff.get(class_index, len(members) + 1)
        if not vocabulary.classes[class_index].is_thing:
            id_of_stuff.setdefault(class_index, segment_id)
        members.setdefault(segment_id, mask)
        id_of_mask[mask] = segment_id
    return id_of_mask[contest.winner], members
