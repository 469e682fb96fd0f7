"""Panoptic quality (PQ = SQ x RQ), equal to panopticapi's definition.

Counts of images and of workers add up, so PQ of a whole corpus never needs its maps at once.

Axes: H W pixels, G true and P predicted segments; in counts of shared pixels index 0 is void.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64
from numpy import ndarray

from possam_core.errors import PossamError
from possam_core.labels.masks import VOID_ID, row_runs
from possam_core.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticAnnotation:
    """The segments of one image, true or predicted."""

    ids: Int32[ndarray, "H W"]  # segment id of each pixel; 0 is void
    category_ids: Mapping[int, int]  # category id of each segment id
    crowd_ids: frozenset[int] = frozenset()  # segments that cover many instances


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOverlaps:
    """How true and predicted segments of one image overlap, in the annotations' order."""

    true_categories: Int64[ndarray, " G"]
    is_crowd: Bool[ndarray, " G"]
    predicted_ids: Int64[ndarray, " P"]
    predicted_categories: Int64[ndarray, " P"]
    ious: Float64[ndarray, "G P"]  # void pixels do not count against a prediction
    ignored: Float64[ndarray, " P"]  # share of a prediction on void or a crowd of its category

    @property
    def matches_any_class(self) -> Bool[ndarray, "G P"]:
        """Whether two segments match, whatever their categories; each has at most one partner."""
        matches: Bool[ndarray, "G P"] = (self.ious > 0.5) & ~self.is_crowd[:, None]
        return matches

    @property
    def matches(self) -> Bool[ndarray, "G P"]:
        """Whether two segments match and have the same category."""
        matches: Bool[ndarray, "G P"] = self.matches_any_class & (
            self.true_categories[:, None] == self.predicted_categories
        )
        return matches

    @property
    def is_ignored(self) -> Bool[ndarray, " P"]:
        """Whether most of a prediction lies on void or on a crowd of its category."""
        return self.ignored > 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueCategory:
    """A class of the ground truth."""

    id: int
    name: str
    is_thing: bool
    is_seen: bool | None = None  # in the training vocabulary; None: unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryCounts:
    """Matched and unmatched segments of one category."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    iou_sum: float = 0.0  # over true positives

    def __add__(self, other: "CategoryCounts") -> "CategoryCounts":
        return CategoryCounts(
            tp=self.tp + other.tp,
            fp=self.fp + other.fp,
            fn=self.fn + other.fn,
            iou_sum=self.iou_sum + other.iou_sum,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticQualityCounts:
    """Counts per category id; `+` merges those of different images."""

    per_category: Mapping[int, CategoryCounts] = field(default_factory=dict)

    def __add__(self, other: "PanopticQualityCounts") -> "PanopticQualityCounts":
        merged = dict(self.per_category)
        for category_id, counts in other.per_category.items():
            merged[category_id] = merged.get(category_id, CategoryCounts()) + counts
        return PanopticQualityCounts(per_category=merged)


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticQuality:
    """Means over the classes that occur, in [0, 1]; all zero where `num_classes` is zero."""

    pq: float
    sq: float  # mean IoU of matched segments
    rq: float  # F1 score of matching
    num_classes: int  # with at least one true or predicted segment


def count_matches(
    ground_truth: PanopticAnnotation, prediction: PanopticAnnotation
) -> PanopticQualityCounts:
    """Match the segments of one image by panopticapi's rules and count per category.

    A pair matches if categories are equal, the true segment is no crowd, and IoU > 0.5, where void
    pixels do not count against the prediction. An unmatched prediction that lies by more than half
    on void and on a crowd of its own category is ignored.

    Raises:
        PossamError: the maps differ in shape, or an id lacks a category or a predicted id a pixel.
    """
    return count_segments(overlap_segments(ground_truth, prediction))


def overlap_segments(
    ground_truth: PanopticAnnotation, prediction: PanopticAnnotation
) -> SegmentOverlaps:
    """How the segments of one image overlap.

    Raises:
        PossamError: the maps differ in shape, or an id lacks a category or a predicted id a pixel.
    """
    if ground_truth.ids.shape != prediction.ids.shape:
        raise PossamError(
            f"ground truth and prediction must have one shape, got {ground_truth.ids.shape} and"
            f" {prediction.ids.shape}"
        )
    shared = _count_shared_pixels(ground_truth, prediction)
    is_crowd = np.array([i in ground_truth.crowd_ids for i in ground_truth.category_ids], np.bool_)
    true_categories = np.array([*ground_truth.category_ids.values()], np.int64)
    predicted_categories = np.array([*prediction.category_ids.values()], np.int64)
    areas = shared.sum(axis=0)[1:]  # (P,)
    if not areas.all():
        raise PossamError("every predicted segment must claim a pixel; leave empty ones out")
    unions = areas + shared.sum(axis=1)[1:, None] - shared[1:, 1:] - shared[0, 1:]
    ignored = _ignored_pixels(shared, true_categories, predicted_categories, is_crowd)
    return SegmentOverlaps(
        true_categories=true_categories,
        is_crowd=is_crowd,
        predicted_ids=np.array([*prediction.category_ids], np.int64),
        predicted_categories=predicted_categories,
        ious=shared[1:, 1:] / np.maximum(unions, 1),
        ignored=ignored / areas,
    )


def count_segments(overlaps: SegmentOverlaps) -> PanopticQualityCounts:
    """The counts of `count_matches`, from overlaps that are already known."""
    true_categories, ious = overlaps.true_categories, overlaps.ious
    is_match = overlaps.matches
    counts: dict[int, CategoryCounts] = {}
    for category_id, iou in zip(
        true_categories[is_match.any(axis=1)].tolist(), ious[is_match].tolist(), strict=True
    ):
        _add(counts, category_id, CategoryCounts(tp=1, iou_sum=iou))
    for category_id in true_categories[~is_match.any(axis=1) & ~overlaps.is_crowd].tolist():
        _add(counts, category_id, CategoryCounts(fn=1))
    is_false_positive = ~is_match.any(axis=0) & ~overlaps.is_ignored
    for category_id in overlaps.predicted_categories[is_false_positive].tolist():
        _add(counts, category_id, CategoryCounts(fp=1))
    return PanopticQualityCounts(per_category=counts)


def summarise(
    counts: PanopticQualityCounts, groups: Mapping[str, Collection[int]]
) -> dict[str, PanopticQuality]:
    """PQ, SQ and RQ of each group of category ids, averaged over the categories that occur."""
    return {name: _average(counts, categories) for name, categories in groups.items()}


def vocabulary_categories(
    vocabulary: Vocabulary, is_seen: Sequence[bool | None]
) -> tuple[TrueCategory, ...]:
    """The classes of `vocabulary`; `is_seen` is kept only if there are seen and unseen ones."""
    has_both = set(is_seen) == {True, False}
    return tuple(
        TrueCategory(
            id=c.category_id, name=c.name, is_thing=c.is_thing, is_seen=seen if has_both else None
        )
        for c, seen in zip(vocabulary.classes, is_seen, strict=True)
    )


def category_groups(categories: Sequence[TrueCategory]) -> dict[str, frozenset[int]]:
    """Ids of `all`, `things`, `stuff` and, if known for every category, `seen` and `unseen`."""
    groups = {
        "all": frozenset(c.id for c in categories),
        "things": frozenset(c.id for c in categories if c.is_thing),
        "stuff": frozenset(c.id for c in categories if not c.is_thing),
    }
    if all(c.is_seen is not None for c in categories):
        groups["seen"] = frozenset(c.id for c in categories if c.is_seen)
        groups["unseen"] = frozenset(c.id for c in categories if not c.is_seen)
    return groups


def _average(counts: PanopticQualityCounts, categories: Collection[int]) -> PanopticQuality:
    present = [
        c for i in sorted(categories) if (c := counts.per_category.get(i)) and c.tp + c.fp + c.fn
    ]
    sq = [c.iou_sum / c.tp if c.tp else 0.0 for c in present]
    rq = [c.tp / (c.tp + 0.5 * c.fp + 0.5 * c.fn) for c in present]
    num_classes = max(len(present), 1)
    return PanopticQuality(
        pq=sum(s * r for s, r in zip(sq, rq, strict=True)) / num_classes,
        sq=sum(sq) / num_classes,
        rq=sum(rq) / num_classes,
        num_classes=len(present),
    )


def _add(counts: dict[int, CategoryCounts], category_id: int, new: CategoryCounts) -> None:
    counts[category_id] = counts.get(category_id, CategoryCounts()) + new


def _count_shared_pixels(
    ground_truth: PanopticAnnotation, prediction: PanopticAnnotation
) -> Int64[ndarray, "G1 P1"]:
    """Pixels that each pair of segments shares, void first."""
    starts = row_runs(ground_truth.ids, prediction.ids)
    lengths = np.diff(starts, append=ground_truth.ids.size)
    shape = (len(ground_truth.category_ids) + 1, len(prediction.category_ids) + 1)
    true, found = (
        _segment_index(one, one.ids.ravel()[starts]) for one in (ground_truth, prediction)
    )
    shared = np.bincount(true * shape[1] + found, weights=lengths, minlength=shape[0] * shape[1])
    return shared.astype(np.int64).reshape(shape)


def _segment_index(
    annotation: PanopticAnnotation, ids: Int32[ndarray, " R"]
) -> Int64[ndarray, " R"]:
    """The position of each id in `category_ids`, counted from 1; 0 is void."""
    names = np.array([*annotation.category_ids], np.int64)
    if min(ids.min(initial=0), names.min(initial=1) - 1) < VOID_ID:
        raise PossamError("segment ids must be positive, with 0 for void; got a negative or a 0")
    table = np.zeros(max(ids.max(initial=0), names.max(initial=0)) + 1, np.int64)
    table[names] = np.arange(1, len(names) + 1)
    index: Int64[ndarray, " R"] = table[ids]
    if np.count_nonzero(index) != np.count_nonzero(ids):
        missing = sorted(set(np.unique(ids).tolist()) - {VOID_ID, *annotation.category_ids})
        raise PossamError(f"every segment id in the map needs a category; {missing} have none")
    return index


def _ignored_pixels(
    shared: Int64[ndarray, "G1 P1"],
    true_categories: Int64[ndarray, " true"],
    predicted_categories: Int64[ndarray, " predicted"],
    is_crowd: Bool[ndarray, " true"],
) -> Int64[ndarray, " predicted"]:
    """Pixels of each prediction on void or on a crowd of its category.

    Of several crowds of one category the last listed counts, as in panopticapi; COCO has one.
    """
    row_of_crowd = {int(true_categories[g]): int(g) + 1 for g in np.flatnonzero(is_crowd)}
    ignored = shared[0, 1:].copy()
    for index, category_id in enumerate(predicted_categories.tolist()):
        if category_id in row_of_crowd:
            ignored[index] += shared[row_of_crowd[category_id], index + 1]
    return ignored
