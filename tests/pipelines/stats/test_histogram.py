"""Tests of pipelines.stats.histogram."""

import numpy as np
import pytest

from pipelines.stats.histogram import Histogram, histograms


def histogram_of(*values: float) -> Histogram:
    return histograms(np.array(values, np.float32), np.zeros(len(values), np.int64), 1)[0]


def test_values_fall_into_hundredths_and_one_into_the_last() -> None:
    found = histogram_of(0.0, 0.005, 0.25, 0.995, 1.0)
    assert {i: n for i, n in enumerate(found.counts) if n} == {0: 2, 25: 1, 99: 2}
    assert found.num_values == 5


def test_each_group_has_its_own_histogram_and_an_empty_one_where_nothing_falls() -> None:
    values = np.array([0.5, 0.25, 0.75], np.float32)
    first, second, third = histograms(values, np.array([2, 0, 2]), 3)
    assert (first.mean, second.mean, third.mean) == (0.25, None, 0.625)
    assert second == Histogram()
    assert second.quantile(0.5) is None


def test_a_sum_does_not_depend_on_the_order() -> None:
    # As floats, (0.1 + 0.2) + 0.3 is not 0.1 + (0.2 + 0.3).
    a, b, c = histogram_of(0.1), histogram_of(0.2), histogram_of(0.3)
    assert (a + b) + c == a + (b + c) == (c + a) + b == histogram_of(0.3, 0.1, 0.2)
    assert ((a + b) + c).mean == pytest.approx(0.2, abs=1e-7)


def test_a_sum_stays_exact_where_float32_would_stand_still() -> None:
    # 2^24 + 1 has no float32: adding a one to sixteen million changes nothing there.
    many = Histogram(counts=(*[0] * 99, 2**24), sum_units=2**48)
    assert (many + histogram_of(1.0)).sum_units == 2**48 + 2**24


def test_quantiles_lie_within_their_bin_in_proportion() -> None:
    # Four values in [0.20, 0.21): a quarter of them lies below its first quarter.
    found = histogram_of(0.201, 0.203, 0.206, 0.208)
    assert found.quantile(0.25) == pytest.approx(0.2025)
    assert found.quantile(1.0) == pytest.approx(0.21)
    # Half of the values in [0.1, 0.11), half in [0.9, 0.91).
    found = histogram_of(0.105, 0.905)
    assert found.quantile(0.5) == pytest.approx(0.11)
    assert found.quantile(0.75) == pytest.approx(0.905)


def test_coarse_bins_add_up_fine_ones() -> None:
    assert histogram_of(0.05, 0.15, 0.19, 1.0).coarse(10) == (1, 2, 0, 0, 0, 0, 0, 0, 0, 1)


def test_json_gives_the_same_histogram_back() -> None:
    found = histogram_of(0.1, 0.9, 0.9)
    assert found.to_json()["bins"] == [10, 1, 89, 2]
    assert Histogram.from_json(found.to_json()) == found
