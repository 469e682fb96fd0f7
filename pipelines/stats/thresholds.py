"""Thresholds on the statistics of a run: whether its labels are good enough to go on."""

import math
from dataclasses import dataclass
from typing import Annotated

from pipelines.run.grading import UNCALIBRATED
from pipelines.stats import Drift, Statistics, population_stability_index
from pipelines.stats.drift import MUCH_DRIFT
from pipelines.stats.statistics import NUM_SCORE_BANDS, SIZES
from possam_core.settings import Setting, require_valid

GRADE_POINTS = {"A": 4, "B": 3, "C": 2, "D": 1}
MAX_SHIFTS_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The limits that a run must meet; None: no limit."""

    max_error_share: Annotated[
        float | None,
        Setting(
            title="Errors at most",
            help="share of the images without labels; 1: any",
            ge=0,
            le=1,
            unset="any",
            example=0.05,
        ),
    ] = None
    min_mean_score: Annotated[
        float | None,
        Setting(
            title="Mean score at least",
            help="over the labelled images, up to 1",
            ge=0,
            le=1,
            unset="any",
            example=0.5,
        ),
    ] = None
    min_mean_grade: Annotated[
        float | None,
        Setting(
            title="Mean grade at least",
            help="over the labelled images; 4 is all A, 3 is all B, 1 is all D",
            ge=1,
            le=4,
            unset="any",
            example=3,
        ),
    ] = None
    max_drift: Annotated[
        float,
        Setting(
            title="Drift at most",
            help="population stability index against the reference; from 0.25 on much has changed",
            ge=0,
            advice="0.1 is some drift, 0.25 much",
            example=0.25,
        ),
    ] = MUCH_DRIFT

    def __post_init__(self) -> None:
        require_valid(self)


def mean_grade(statistics: Statistics) -> float | None:
    """Mean grade of the labelled images in GRADE_POINTS; None if one is not calibrated, or none."""
    num_graded = sum(statistics.grades.values())
    if not num_graded or UNCALIBRATED in statistics.grades:
        return None
    points = sum(GRADE_POINTS[grade] * number for grade, number in statistics.grades.items())
    return points / num_graded


def mean_score(statistics: Statistics) -> float | None:
    """Mean of the mean scores of the labelled images; None if there are none."""
    scores = statistics.images.get("mean_score")
    return scores.mean if scores else None


def shortfalls(
    statistics: Statistics, thresholds: Thresholds, reference: Statistics | None = None
) -> list[str]:
    """One sentence for each threshold that a run misses; empty if it passes.

    Args:
        statistics: of the run.
        thresholds: the limits that it must meet.
        reference: statistics of the run to measure drift against; None: drift is not checked.
    """
    found = [
        _error_shortfall(statistics, thresholds.max_error_share),
        _low("mean score", mean_score(statistics), thresholds.min_mean_score),
        _low_grade(statistics, thresholds.min_mean_grade),
    ]
    if reference is not None:
        drift = population_stability_index(reference, statistics)
        chance = 1 / max(1, reference.num_segments) + 1 / max(1, statistics.num_segments)
        found += _drift_shortfalls(drift, thresholds.max_drift, chance)
    return [sentence for sentence in found if sentence]


def _error_shortfall(statistics: Statistics, allowed: float | None) -> str:
    num_errors = statistics.num_images - statistics.num_ok
    share = num_errors / max(1, statistics.num_images)
    if allowed is None or share <= allowed:
        return ""
    return (
        f"{num_errors:,} of {statistics.num_images:,} images failed ({share:.1%}), allowed are"
        f" {allowed:.1%}"
    )


def _low_grade(statistics: Statistics, least: float | None) -> str:
    if least is not None and UNCALIBRATED in statistics.grades:
        return (
            f"a mean grade of at least {least:g} is wanted, but the grades are not calibrated here;"
            " leave that limit out, or set uncalibrated to take them as they are"
        )
    return _low("mean grade", mean_grade(statistics), least)


def _low(name: str, value: float | None, least: float | None) -> str:
    if least is None or (value is not None and value >= least):
        return ""
    if value is None:
        return f"there is no {name}, for no image has labels; at least {least:g} is wanted"
    return f"the {name} is {value:.3g}, at least {least:g} is wanted"


def _drift_shortfalls(drift: Drift, allowed: float, chance: float) -> list[str]:
    """The parts that drifted by more than samples of this size differ by chance.

    A small canary would seem to drift from anything: between samples of one distribution, the index
    is `chance` times a chi-square variable with one degree of freedom less than parts. So its mean
    and two standard deviations are added to the limit.
    """
    parts = {
        "classes": (drift.classes, len(drift.shifts)),
        "sizes": (drift.sizes, len(SIZES)),
        "scores": (drift.scores, NUM_SCORE_BANDS),
    }
    sentences = []
    for name, (index, num_parts) in parts.items():
        freedom = max(0, num_parts - 1)
        if index <= allowed + chance * (freedom + 2 * math.sqrt(2 * freedom)):
            continue
        sentence = f"the {name} drifted from the reference: index {index:.2f}, allowed {allowed:g}"
        if name == "classes":
            shifts = [
                f"{s.name} {s.reference_share:.1%} -> {s.current_share:.1%}"
                for s in drift.shifts[:MAX_SHIFTS_NAMED]
            ]
            sentence += f" ({', '.join(shifts)})"
        sentences.append(sentence)
    return sentences
