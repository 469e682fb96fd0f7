"""Histograms of values in [0, 1], with sums that are exact.

Axes: V values, G groups.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import add
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

NUM_BINS = 100
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Values are rounded to 1 / UNITS_IN_ONE, the step of a float32 just below 1, before they are
# summed. Sums are whole numbers of it, so they do not depend on the order.
UNITS_IN_ONE = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """The number of values in each of `NUM_BINS` equal parts of [0, 1], and their sum."""

    counts: tuple[int, ...] = (0,) * NUM_BINS
    sum_units: int = 0  # in parts of UNITS_IN_ONE

    @property
    def num_values(self) -> int:
        """The number of values in all bins."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """The mean of the values, exact to half a unit; None without any."""
        num_values = self.num_values
        return self.sum_units / UNITS_IN_ONE / num_values if num_values else None

    def quantile(self, share: float) -> float | None:
        """The value below which `share` of the values lie, to the width of a bin; None without any.

        Values are assumed to be spread evenly within their bin.
        """
        rank = share * self.num_values
        below = 0
        for index, count in enumerate(self.counts):
            if count and below + count >= rank:
                return (index + (rank - below) / count) / NUM_BINS
            below += count
        return None

    def coarse(self, num_bins: int) -> tuple[int, ...]:
        """Counts in `num_bins` equal parts, which must divide `NUM_BINS`."""
        width = NUM_BINS // num_bins
        return tuple(sum(self.counts[i : i + width]) for i in range(0, NUM_BINS, width))

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(
            counts=tuple(map(add, self.counts, other.counts)),
            sum_units=self.sum_units + other.sum_units,
        )

    def to_json(self) -> dict[str, Any]:
        """The sum, and a flat list of index and count of each non-empty bin."""
        bins = [n for item in enumerate(self.counts) if item[1] for n in item]
        return {"sum_units": self.sum_units, "bins": bins}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Histogram":
        """The histogram that `to_json` returned."""
        counts, bins = [0] * NUM_BINS, content["bins"]
        for index, count in zip(bins[::2], bins[1::2], strict=True):
            counts[index] = count
        return cls(counts=tuple(counts), sum_units=content["sum_units"])


def histograms(
    values: Float[ndarray, " V"], groups: Int64[ndarray, " V"], num_groups: int
) -> list[Histogram]:
    """One histogram for each group number below `num_groups`."""
    exact = values.astype(np.float64)
    bins = np.clip((exact * NUM_BINS).astype(np.int64), 0, NUM_BINS - 1)
    counts = np.bincount(groups * NUM_BINS + bins, minlength=num_groups * NUM_BINS)
    sums = np.zeros(num_groups, np.int64)
    np.add.at(sums, groups, np.rint(exact * UNITS_IN_ONE).astype(np.int64))
    return [
        Histogram(counts=tuple(row), sum_units=total)
        for row, total in zip(counts.reshape(-1, NUM_BINS).tolist(), sums.tolist(), strict=True)
    ]
