"""Reliability curves: a model's claims against their outcomes, in bins that add up.

The expected calibration error is the mean over 15 bins of equal width, weighted by their counts, of
the distance between the mean claim and the mean outcome.

Axes: N claims, G true and P predicted segments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from numpy import ndarray

from possam_core.evaluation.panoptic_quality import SegmentOverlaps
from possam_core.labels.segmentation import PanopticSegmentation

NUM_BINS = 15
# Claims about a segment, and what each is compared with.
PREDICTED_IOU = "predicted_iou"  # its largest IoU with a true segment
CLASS_SCORE = "class_score"  # whether its class is right; only of segments that match a true one
SCORE = "score"  # whether it matches a true segment of its class
CLAIMS = (PREDICTED_IOU, CLASS_SCORE, SCORE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """One curve; `+` merges the counts of different images."""

    num: tuple[int, ...] = (0,) * NUM_BINS  # claims in each bin of [0, 1]
    claimed: tuple[float, ...] = (0.0,) * NUM_BINS  # their sum
    found: tuple[float, ...] = (0.0,) * NUM_BINS  # sum of their outcomes

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(
            num=tuple(a + b for a, b in zip(self.num, other.num, strict=True)),
            claimed=tuple(a + b for a, b in zip(self.claimed, other.claimed, strict=True)),
            found=tuple(a + b for a, b in zip(self.found, other.found, strict=True)),
        )

    @property
    def expected_calibration_error(self) -> float | None:
        """As in the module's docstring, in [0, 1]; None: there is no claim."""
        total = sum(self.num)
        if not total:
            return None
        return sum(abs(c - f) for c, f in zip(self.claimed, self.found, strict=True)) / total

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` turns them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Reliability":
        """Inverse of `to_json`."""
        return cls(**{name: tuple(values) for name, values in content.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Outcomes of the predicted segments of one image."""

    is_known: Bool[ndarray, " P"]  # not mostly on void or on a crowd of its class
    best_iou: Float64[ndarray, " P"]  # with any true segment but a crowd, whatever its class
    partner: Int64[ndarray, " P"]  # category id of the true segment that it matches, or -1


def find_outcomes(overlaps: SegmentOverlaps) -> Outcomes:
    """The outcome of each predicted segment; a match is an IoU above 0.5, whatever the class."""
    is_match = overlaps.matches_any_class
    partner = np.full(len(overlaps.predicted_ids), -1, np.int64)
    true_index, predicted_index = np.nonzero(is_match)
    partner[predicted_index] = overlaps.true_categories[true_index]
    return Outcomes(
        is_known=~overlaps.is_ignored | is_match.any(axis=0),
        best_iou=overlaps.ious[~overlaps.is_crowd].max(axis=0, initial=0.0),
        partner=partner,
    )


def count_claims(
    claims: Float[ndarray, " N"], outcomes: Float[ndarray, " N"] | Bool[ndarray, " N"]
) -> Reliability:
    """The curve of some claims, each in [0, 1]."""
    bins = np.minimum((claims * NUM_BINS).astype(np.int64), NUM_BINS - 1)

    def sums(weights: ndarray | None) -> list[Any]:
        summed: list[Any] = np.bincount(bins, weights, minlength=NUM_BINS).tolist()
        return summed

    return Reliability(
        num=tuple(sums(None)),
        claimed=tuple(sums(claims.astype(np.float64))),
        found=tuple(sums(outcomes.astype(np.float64))),
    )


def measure_reliability(
    overlaps: SegmentOverlaps, segmentation: PanopticSegmentation, class_scores: Sequence[float]
) -> dict[str, Reliability]:
    """The curves of `CLAIMS` of one image.

    Args:
        overlaps: of the truth and `segmentation`.
        segmentation: with its figures as reported.
        class_scores: of each of its segments.
    """
    outcomes = find_outcomes(overlaps)
    is_met = outcomes.is_known & (outcomes.partner >= 0)
    is_right = outcomes.partner == overlaps.predicted_categories
    of_class = np.array(class_scores, np.float64)
    segments = segmentation.segments
    return {
        **measure_segment_claims(
            overlaps,
            predicted_ious=[s.predicted_iou for s in segments],
            scores=[s.score for s in segments],
        ),
        CLASS_SCORE: count_claims(of_class[is_met], is_right[is_met]),
    }


def measure_segment_claims(
    overlaps: SegmentOverlaps, *, predicted_ious: Sequence[float | None], scores: Sequence[float]
) -> dict[str, Reliability]:
    """The curves of one image that labels alone give: predicted IoU, and score.

    Args:
        overlaps: of the truth and the labels.
        predicted_ious: of each segment of the labels; None: not known, so it claims nothing.
        scores: of the same.
    """
    outcomes = find_outcomes(overlaps)
    known = outcomes.is_known
    is_right = outcomes.partner == overlaps.predicted_categories
    predicted_iou = np.array(predicted_ious, np.float64)  # None: NaN
    has_iou = known & ~np.isnan(predicted_iou)
    return {
        PREDICTED_IOU: count_claims(predicted_iou[has_iou], outcomes.best_iou[has_iou]),
        SCORE: count_claims(np.array(scores, np.float64)[known], is_right[known]),
    }
