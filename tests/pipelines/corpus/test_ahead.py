import threading
from collections.abc import Iterator

import pytest

from pipelines.corpus.ahead import in_order


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
