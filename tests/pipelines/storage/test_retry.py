"""Retries, with a clock whose waits take no time."""

import pytest

from pipelines.storage.retry import Patience, Retries, retry
from tests.pipelines.clock import Clock


class Failing:
    """A call that fails some times before it returns its number of calls."""

    def __init__(self, num_failures: float) -> None:
        self.num_calls = 0
        self._num_failures = num_failures

    def __call__(self) -> int:
        self.num_calls += 1
        if self.num_calls <= self._num_failures:
            raise OSError(f"failure {self.num_calls}")
        return self.num_calls


def is_os_error(error: Exception) -> bool:
    return isinstance(error, OSError)


def test_pauses_double_up_to_the_longest_and_vary_by_half(clock: Clock) -> None:
    patience = Patience(tries=6, first_pause_s=1.0, longest_pause_s=4.0)
    assert retry(Failing(5), patience, is_transient=is_os_error, what="it") == 6
    means = [1.0, 2.0, 4.0, 4.0, 4.0]
    assert all(
        0.5 * mean <= wait <= 1.5 * mean for wait, mean in zip(clock.waits, means, strict=True)
    )


def test_two_that_fail_together_do_not_try_again_together() -> None:
    patience = Patience(first_pause_s=1.0)
    pauses = [patience.pause_s(1) for _ in range(1000)]
    assert len(set(pauses)) > 990
    assert min(pauses) < 0.6
    assert max(pauses) > 1.4
    assert sum(pauses) / 1000 == pytest.approx(1.0, abs=0.05)


def test_the_last_of_the_tries_raises_without_another_wait(clock: Clock) -> None:
    call = Failing(9)
    with pytest.raises(OSError, match="failure 3"):
        retry(call, Patience(tries=3, first_pause_s=1.0), is_transient=is_os_error, what="it")
    assert call.num_calls == 3
    assert len(clock.waits) == 2


def test_no_try_begins_after_the_time_is_up(clock: Clock) -> None:
    patience = Patience(first_pause_s=1.0, longest_pause_s=1.0, within_s=10.0)
    with pytest.raises(OSError, match="failure"):
        retry(Failing(99), patience, is_transient=is_os_error, what="it")
    assert 10.0 < clock.now <= 11.5


def test_an_error_that_is_not_transient_is_raised_at_once(clock: Clock) -> None:
    with pytest.raises(OSError, match="failure 1"):
        retry(Failing(9), Patience(first_pause_s=1.0), is_transient=lambda _: False, what="it")
    assert clock.waits == []


def test_success_makes_the_next_failure_the_first_again(clock: Clock) -> None:
    retries = Retries(Patience(tries=3, first_pause_s=1.0))
    assert [retries.again(), retries.again()] == [True, True]
    retries.reset()
    assert [retries.again(), retries.again(), retries.again()] == [True, True, False]
    assert len(clock.waits) == 4


def test_a_thousand_failures_do_not_overflow(clock: Clock) -> None:
    retries = Retries(Patience(first_pause_s=2.0, longest_pause_s=2.0))
    assert all(retries.again() for _ in range(2000))
    assert max(clock.waits) <= 3.0
