"""Confusion counts: matched segments by true and predicted class, and those without a match."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from possam_core.evaluation.panoptic_quality import SegmentOverlaps

Pair = tuple[int | None, int | None]  # true and predicted category id; None: there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCounts:
    """Counts of pairs of true and predicted category; `+` merges those of different images."""

    counts: Mapping[Pair, int] = field(default_factory=dict)

    def __add__(self, other: "PairCounts") -> "PairCounts":
        merged = dict(self.counts)
        for pair, count in other.counts.items():
            merged[pair] = merged.get(pair, 0) + count
        return PairCounts(counts=merged)

    def to_json(self) -> list[list[int | None]]:
        """Plain records for JSON; `from_json` turns them back."""
        return [[true, predicted, n] for (true, predicted), n in self.counts.items()]

    @classmethod
    def from_json(cls, records: Iterable[list[int | None]]) -> "PairCounts":
        """Inverse of `to_json`."""
        return cls(counts={(true, predicted): n or 0 for true, predicted, n in records})


def count_segment_pairs(overlaps: SegmentOverlaps) -> PairCounts:
    """The segments of one image by true and predicted category.

    Two segments are a pair if their IoU is above 0.5, whatever their categories. A true one without
    a partner is missed, a predicted one spurious; as for PQ, crowds are never missed, and
    predictions mostly on void or on a crowd of their own category are not counted.
    """
    is_match = overlaps.matches_any_class
    true, predicted = overlaps.true_categories.tolist(), overlaps.predicted_categories.tolist()
    pairs: list[Pair] = [(true[g], predicted[p]) for g, p in np.argwhere(is_match).tolist()]
    is_missed = ~is_match.any(axis=1) & ~overlaps.is_crowd
    pairs += [(true[g], None) for g in np.flatnonzero(is_missed).tolist()]
    is_spurious = ~is_match.any(axis=0) & ~overlaps.is_ignored
    pairs += [(None, predicted[p]) for p in np.flatnonzero(is_spurious).tolist()]
    return PairCounts(counts=dict(Counter(pairs)))
