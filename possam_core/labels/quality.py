"""How far to trust the labels of one image, without ground truth.

The labels of a calibrated model have an expected panoptic quality, and their grade is a range of
it. Those of any other model are graded by fixed thresholds on those of four measures that the
model knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from possam_core.labels.segmentation import PanopticSegmentation, Segment

GRADES = ("A", "B", "C", "D")
# Least expected PQ of an image for grades A, B and C; below C is D.
EXPECTED_PQ_BOUNDS = (0.60, 0.45, 0.30)

# Without calibration, per measure: the reason it gives, and the least value for A, B and C.
# Round numbers that order 400 playground scenes (seed 501) labelled by possam-tiny by their PQ.
THRESHOLDS = {
    "coverage": ("much_void", (0.95, 0.85, 0.70)),
    "mean_score": ("low_score", (0.70, 0.55, 0.40)),
    "mean_predicted_iou": ("low_predicted_iou", (0.80, 0.70, 0.55)),
    "clip_agreement": ("clip_disagrees", (0.70, 0.50, 0.25)),
}
# PQ of the images of each of those grades together: the possam-tiny of 2026-11-22, which was not
# calibrated, on 400 other playground scenes (seed 502), by `python -m benchmarks.calibration`.
# Another model or corpus has other figures: `possam evaluate` prints them beside these.
EXPECTED_PQ = {"A": 0.490, "B": 0.390, "C": 0.339, "D": 0.274}
NO_SEGMENTS = "no_segments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Statistics of one image's segments; means weigh each segment by its area.

    A mean is over the segments for which the model knows the measure; None: over none.
    """

    coverage: float  # share of pixels that belong to a segment
    void_frac: float  # the other pixels
    num_things: int
    num_stuff: int
    mean_score: float
    min_score: float
    mean_predicted_iou: float | None
    entropy: float | None  # mean over segments, in [0, 1]; 1 is no idea
    clip_agreement: float | None  # share of the area whose class CLIP alone would give as well
    boundary_sharpness: float  # share of label borders that lie on edges of the image
    consistency: float | None  # PQ against the labels of changed copies; None: not sampled for it
    grade: str  # A (train on it) to D (look at it)
    reasons: tuple[str, ...]  # what kept the grade below A


def assess(
    segmentation: PanopticSegmentation,
    *,
    boundary_sharpness: float,
    consistency: float | None = None,
) -> Quality:
    """Describe and grade the labels of one image.

    Args:
        segmentation: of the image.
        boundary_sharpness: as `possam_core.labels.boundary` measures it; it does not change the
            grade.
        consistency: as `possam_core.evaluation.consistency` measures it; likewise.
    """
    segments, measures = segmentation.segments, _measure(segmentation)
    given, reasons = grade(segmentation)
    return Quality(
        coverage=measures.coverage,
        void_frac=1.0 - measures.coverage,
        num_things=sum(s.is_thing for s in segments),
        num_stuff=sum(not s.is_thing for s in segments),
        mean_score=measures.mean_score,
        min_score=min((s.score for s in segments), default=0.0),
        mean_predicted_iou=measures.mean_predicted_iou,
        entropy=_area_mean(segments, [s.entropy for s in segments]),
        clip_agreement=measures.clip_agreement,
        boundary_sharpness=boundary_sharpness,
        consistency=consistency,
        grade=given,
        reasons=reasons,
    )


def grade(segmentation: PanopticSegmentation) -> tuple[str, tuple[str, ...]]:
    """The grade of one image's labels, and what kept it below A.

    Of a calibrated model the expected panoptic quality decides, and the reasons are the measures
    that are below what the model usually has. Of any other the worst of the measures that it
    knows decides. An image without segments is D.
    """
    if not segmentation.segments:
        return "D", (NO_SEGMENTS,)
    if segmentation.expected is None:
        return _worst(_measure(segmentation))
    pq = segmentation.expected.pq
    given = GRADES[sum(pq < bound for bound in EXPECTED_PQ_BOUNDS)]
    reasons = tuple(THRESHOLDS[name][0] for name in segmentation.expected.low)
    return given, () if given == "A" else reasons


def seen_measures(segmentation: PanopticSegmentation) -> dict[str, float]:
    """Those by which a calibration knows its kind of images: MEASURES of `calibration_set`."""
    measures = _measure(segmentation)
    return {
        "mean_score": measures.mean_score,
        "coverage": measures.coverage,
        "num_segments": float(len(segmentation.segments)),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measures:
    """The keys of `THRESHOLDS`."""

    coverage: float
    mean_score: float
    mean_predicted_iou: float | None
    clip_agreement: float | None


def _measure(segmentation: PanopticSegmentation) -> _Measures:
    segments = segmentation.segments
    height, width = segmentation.image_hw
    return _Measures(
        coverage=sum(s.area_px for s in segments) / (height * width),
        mean_score=_area_mean(segments, [s.score for s in segments]) or 0.0,
        mean_predicted_iou=_area_mean(segments, [s.predicted_iou for s in segments]),
        clip_agreement=_area_mean(segments, [s.clip_agrees for s in segments]),
    )


def _area_mean(segments: Sequence[Segment], values: Sequence[float | None]) -> float | None:
    """The mean over the segments whose value is known; None if there is none."""
    known = [(v, s.area_px) for v, s in zip(values, segments, strict=True) if v is not None]
    if not known:
        return None
    numbers, areas_px = zip(*known, strict=True)
    return float(np.average(numbers, weights=areas_px))


def _worst(measures: _Measures) -> tuple[str, tuple[str, ...]]:
    ranks = {
        reason: sum(value < bound for bound in bounds)
        for name, (reason, bounds) in THRESHOLDS.items()
        if (value := getattr(measures, name)) is not None
    }
    return GRADES[max(ranks.values())], tuple(r for r, rank in ranks.items() if rank > 0)
