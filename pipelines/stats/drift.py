"""How far the labels of a run have drifted from those of a reference run."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.stats.statistics import NUM_SCORE_BANDS, SIZES, Statistics

# Added to every count, so that a class missing in one run has a share to compare.
PRIOR = 0.5
SOME_DRIFT, MUCH_DRIFT = 0.1, 0.25  # the customary bounds of the index


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A class and its share of all segments, before and now."""

    name: str
    reference_share: float
    current_share: float
    contribution: float  # to the index of the classes


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Population stability indices between two runs; 0 if their segments are distributed equally.

    Each is the sum over classes, sizes or tenths of score of (q - p) ln(q / p), where p and q are
    a part's shares of the segments of both runs. It does not depend on which run is the reference.
    """

    classes: float
    sizes: float
    scores: float
    shifts: tuple[Shift, ...]  # of every class; those that contribute most come first

    @property
    def worst(self) -> float:
        """The largest of the three."""
        return max(self.classes, self.sizes, self.scores)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"worst": self.worst}


def population_stability_index(reference: Statistics, current: Statistics) -> Drift:
    """Compare the segments of two runs by class name, size and score."""
    both = (reference, current)
    classes = _compare(*map(_by_name, both))
    sizes = _compare(*map(_by_size, both))
    scores = _compare(*map(_by_score, both))
    return Drift(
        classes=math.fsum(shift.contribution for shift in classes),
        sizes=math.fsum(shift.contribution for shift in sizes),
        scores=math.fsum(shift.contribution for shift in scores),
        shifts=tuple(sorted(classes, key=lambda shift: (-shift.contribution, shift.name))),
    )


def _by_name(statistics: Statistics) -> dict[str, int]:
    counts = Counter[str]()
    for segment_class, figures in statistics.by_class().items():
        counts[segment_class.name] += figures.num_segments
    return counts


def _by_size(statistics: Statistics) -> dict[str, int]:
    found = statistics.by_size()
    return {size: found[size].num_segments if size in found else 0 for size in SIZES}


def _by_score(statistics: Statistics) -> dict[str, int]:
    bands = statistics.score_bands
    return {
        str(band): bands[band].num_segments if band in bands else 0
        for band in range(NUM_SCORE_BANDS)
    }


def _compare(reference: Mapping[str, int], current: Mapping[str, int]) -> list[Shift]:
    """One term of the index for each name that either has."""
    names = sorted({*reference, *current})
    totals = [sum(counts.values()) + PRIOR * len(names) for counts in (reference, current)]
    shifts = []
    for name in names:
        p, q = (
            (counts.get(name, 0) + PRIOR) / total
            for counts, total in zip((reference, current), totals, strict=True)
        )
        contribution = (q - p) * math.log(q / p)
        shifts.append(
            Shift(name=name, reference_share=p, current_share=q, contribution=contribution)
        )
    return shifts
