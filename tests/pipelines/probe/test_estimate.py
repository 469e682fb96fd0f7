import pytest

from pipelines.probe.estimate import Estimate, combine, mean_of, share_of


def test_the_mean_weighs_parts_by_what_they_hold() -> None:
    # 8 images in 4 s and 2 images in 6 s are 10 images in 10 s, not 0.5 and 3 s an image.
    assert mean_of([4, 6], [8, 2]).value == 1.0


def test_parts_that_agree_leave_no_doubt() -> None:
    assert mean_of([4, 4, 4], [8, 8, 8]) == Estimate(value=0.5, low=0.5, high=0.5)


def test_fewer_than_three_parts_give_no_interval() -> None:
    assert mean_of([4, 6], [8, 8]) == Estimate(value=0.625, low=None, high=None)


def test_the_interval_is_that_of_the_resamples_widened_for_few_parts() -> None:
    # Of 3 parts, all-ones and all-threes are each drawn once in 27 times, less than 5 %; the next
    # resample has the mean 5/3 at the low end (once in 9 times more) and 7/3 at the high one.
    # Widening: sqrt(3 / 2) * t(0.95, 2) / z(0.95) = 1.2247 * 2.9200 / 1.6449 = 2.1742.
    found = mean_of([1, 2, 3], [1, 1, 1])
    assert found.value == 2.0
    assert found.low == pytest.approx(2 * (4 / 3 / 2) ** 2.1742, rel=1e-3)
    assert found.high == pytest.approx(2 * (8 / 3 / 2) ** 2.1742, rel=1e-3)


def test_the_same_measurements_give_the_same_interval_and_more_a_narrower_one() -> None:
    few, many = [1.0, 2.0] * 4, [1.0, 2.0] * 64
    assert mean_of(few, [1] * 8) == mean_of(few, [1] * 8)
    wide, narrow = mean_of(few, [1] * 8), mean_of(many, [1] * 128)
    assert wide.low < narrow.low < 1.5 < narrow.high < wide.high


def test_nine_intervals_in_ten_hold_the_truth() -> None:
    # Twenty series of eight exact quantiles of a skewed distribution cannot be random, so draw.
    import numpy as np

    random = np.random.default_rng(5)
    found = [mean_of(random.exponential(1.0, 16), [1] * 16) for _ in range(400)]
    num_hits = sum(e.low <= 1.0 <= e.high for e in found)
    assert 0.84 * 400 <= num_hits <= 0.96 * 400


@pytest.mark.parametrize(
    ("num_found", "num_seen", "low", "high"),
    [
        # z^2 = 2.7055. For 0 of 10: high = z^2 / (10 + z^2) = 0.2130.
        (0, 10, 0.0, 0.2130),
        (10, 10, 0.7870, 1.0),
        # For 5 of 10: 0.5 -+ z * sqrt(0.025 + z^2 / 400) / (1 + z^2 / 10) = 0.5 -+ 0.2307.
        (5, 10, 0.2693, 0.7307),
    ],
)
def test_a_share_has_wilsons_interval(
    num_found: int, num_seen: int, low: float, high: float
) -> None:
    share = share_of(num_found, num_seen)
    assert share.value == num_found / num_seen
    assert (share.low, share.high) == pytest.approx((low, high), abs=1e-4)


def test_a_share_lies_within_its_interval_to_the_last_bit() -> None:
    assert (share_of(64, 64).high, share_of(0, 64).low) == (1.0, 0.0)


def test_estimates_are_scaled_turned_over_and_added_up_at_each_end() -> None:
    seconds = Estimate(value=2.0, low=1.0, high=4.0)
    assert seconds.times(10, plus=5) == Estimate(value=25, low=15, high=45)
    assert seconds.inverse() == Estimate(value=0.5, low=0.25, high=1.0)
    both = combine(lambda a, b: a + 2 * b, seconds, Estimate.exact(3))
    assert both == Estimate(value=8, low=7, high=10)


def test_no_interval_stays_none_whatever_is_done_with_it() -> None:
    alone = Estimate(value=2.0, low=None, high=None)
    assert alone.times(3, plus=1) == Estimate(value=7, low=None, high=None)
    assert alone.inverse() == Estimate(value=0.5, low=None, high=None)
    assert combine(lambda a, b: a * b, Estimate.exact(1), alone).low is None
