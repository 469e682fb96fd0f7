"""Estimates for a population from a sample: figures with 90 % intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import norm, t

CONFIDENCE = 0.9
MIN_PARTS = 3  # fewer measurements give no estimate of their spread
NUM_RESAMPLES = 4000
SEED = 0

TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure and its 90 % interval; low and high are None where the sample is too small."""

    value: float
    low: float | None
    high: float | None

    @classmethod
    def exact(cls, value: float) -> "Estimate":
        """A figure without uncertainty."""
        return cls(value=value, low=value, high=value)

    def times(self, factor: float, *, plus: float = 0.0) -> "Estimate":
        """`factor` (0 or more) times the figure, plus `plus`."""
        return combine(lambda x: x * factor + plus, self)

    def inverse(self) -> "Estimate":
        """One divided by a figure above zero: images/s from seconds per image."""
        shrunk = combine(lambda x: 1 / x, self)
        return Estimate(value=shrunk.value, low=shrunk.high, high=shrunk.low)


def combine(function: Callable[..., float], *parts: Estimate) -> Estimate:
    """`function`, which increases with each of its arguments, of the figures and interval ends.

    For several figures the interval is rather too wide: they are not all low or high at once.
    """
    lows, highs = [part.low for part in parts], [part.high for part in parts]
    return Estimate(
        value=function(*(part.value for part in parts)),
        low=None if None in lows else function(*lows),
        high=None if None in highs else function(*highs),
    )


def mean_of(totals: Sequence[float], counts: Sequence[float]) -> Estimate:
    """The mean of a quantity per item, from the totals of several parts.

    The interval is that of a bootstrap over the parts, with a fixed seed. It underestimates the
    spread of few parts, so it is widened by Student's t: for 8 parts by 23 %.

    Args:
        totals: of each part, for example seconds; 0 or more, not all 0.
        counts: items of each part, for example images; above 0.
    """
    sums, sizes = np.asarray(totals, float), np.asarray(counts, float)
    value, num_parts = float(sums.sum() / sizes.sum()), len(sums)
    if num_parts < MIN_PARTS:
        return Estimate(value=value, low=None, high=None)
    drawn = np.random.default_rng(SEED).integers(0, num_parts, (NUM_RESAMPLES, num_parts))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    degrees = num_parts - 1
    widening = sqrt(num_parts / degrees) * t.ppf(TAILS[1], degrees) / norm.ppf(TAILS[1])
    # Widened as ratios, so that no interval goes below zero.
    low, high = value * (np.quantile(means, TAILS) / value) ** widening
    return Estimate(value=value, low=float(low), high=float(high))


def share_of(num_found: int, num_seen: int) -> Estimate:
    """The share of a population, from `num_found` of `num_seen` members (Wilson's score)."""
    z = float(norm.ppf(TAILS[1]))
    share = num_found / num_seen
    centre = (share + z * z / (2 * num_seen)) / (1 + z * z / num_seen)
    spread = share * (1 - share) / num_seen + z * z / (4 * num_seen**2)
    half = z * sqrt(spread) / (1 + z * z / num_seen)
    return Estimate(value=share, low=max(0.0, centre - half), high=max(share, centre + half))
