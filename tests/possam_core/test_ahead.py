import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from possam_core.ahead import in_order, run_ahead


def test_items_come_source_by_source_whoever_is_faster() -> None:
    first_may_end = threading.Event()

    def slow() -> Iterator[str]:
        yield "a1"
        assert first_may_end.wait(10)
        yield "a2"

    def fast() -> Iterator[str]:
        yield "b1"
        first_may_end.set()  # runs although nobody has asked for b1
        yield "b2"

    assert list(in_order([slow(), fast()], threads=2, ahead=2)) == ["a1", "a2", "b1", "b2"]


def test_no_more_than_asked_for_is_made_ahead() -> None:
    made: list[int] = []
    begun: list[int] = []
    has_three = threading.Event()

    def endless() -> Iterator[int]:
        for i in range(1_000_000):
            made.append(i)
            if i == 3:
                has_three.set()
            yield i

    def sources() -> Iterator[Iterator[int]]:
        for i in range(1_000):
            begun.append(i)
            yield endless()

    items = in_order(sources(), threads=1, ahead=2)
    assert begun == []
    assert next(items) == 0
    assert has_three.wait(10)
    items.close()
    assert made == [0, 1, 2, 3]  # one taken, two in the queue, one at its door
    assert begun == [0, 1]


def test_the_error_of_a_source_comes_after_its_items() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    items = in_order([iter([0]), broken(), iter([2])], threads=2, ahead=1)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_leaving_early_ends_every_thread() -> None:
    before = threading.active_count()
    items = in_order([iter(range(100)) for _ in range(10)], threads=4, ahead=1)
    assert next(items) == 0
    items.close()
    assert threading.active_count() == before


def test_a_function_is_at_work_on_no_more_items_than_asked_for() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    with ThreadPoolExecutor(4) as pool:
        results = run_ahead(pool, lambda i: i * i, items(), 2)
        assert taken == []
        assert [next(results), next(results)] == [0, 1]
        assert taken == [0, 1, 2, 3]  # two handed out, two ahead
        assert list(results) == [i * i for i in range(2, 100)]


def test_leaving_early_cancels_what_has_not_begun() -> None:
    done: list[int] = []
    may_end = threading.Event()

    def work(item: int) -> int:
        if item:
            assert may_end.wait(10)
        done.append(item)
        return item

    with ThreadPoolExecutor(1) as pool:
        results = run_ahead(pool, work, range(10), 3)
        assert next(results) == 0
        results.close()
        may_end.set()
    assert done in ([0], [0, 1])  # 1 may have begun; 2 and 3 were waiting


def test_an_error_comes_in_the_place_of_its_item_and_waits_can_be_timed() -> None:
    num_waits = 0

    @contextmanager
    def waiting() -> Iterator[None]:
        nonlocal num_waits
        num_waits += 1
        yield

    with ThreadPoolExecutor(2) as pool:
        results = run_ahead(pool, lambda i: 6 // i, [3, 0, 1], 2, waiting)
        assert next(results) == 2
        with pytest.raises(ZeroDivisionError):
            next(results)
    assert num_waits == 2
