"""Work a bounded number of items ahead of their taker, and hand out the results in order.

`run_ahead` for a function of each item, `in_order` for slow iterators of items, `begin_ahead` for
work that goes on by itself once it has begun.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Event
from typing import Generic, Protocol, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")
Item = TypeVar("Item")


class Cancellable(Protocol):
    """Work that has begun; `cancel` says that nobody will take its result."""

    def cancel(self) -> object: ...


Begun = TypeVar("Begun", bound=Cancellable)


@dataclass(frozen=True, slots=True)
class _End:
    """Follows the last item of an iterator."""

    error: BaseException | None = None  # what ended it early


class _Lane(Generic[Item]):
    """Holds the items of one iterator between the thread that makes them and the taker."""

    def __init__(self, ahead: int) -> None:
        self.queue: Queue[Item | _End] = Queue(ahead)
        self.is_cancelled = Event()

    def fill(self, source: Iterable[Item]) -> None:
        end = _End()
        try:
            for item in source:
                self.queue.put(item)
                if self.is_cancelled.is_set():
                    return
        except BaseException as error:  # whatever it is, `take` raises it again
            end = _End(error)
        self.queue.put(end)

    def take(self) -> Iterator[Item]:
        while not isinstance(item := self.queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    def cancel(self) -> None:
        self.is_cancelled.set()
        # `fill` may wait for room; emptied once there is enough for all that it still puts.
        while True:
            try:
                self.queue.get_nowait()
            except Empty:
                return


def run_ahead(
    pool: Executor,
    function: Callable[[In], Out],
    items: Iterable[In],
    ahead: int,
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[Out]:
    """Yield `function(item)` in order, while up to `ahead` later items are at work in `pool`.

    Waits for a result happen inside `waiting()`, so that they can be timed.

    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(run_ahead(pool, str.upper, ["a", "b", "c"], 1))
    ['A', 'B', 'C']
    """
    with closing(begin_ahead(lambda item: pool.submit(function, item), items, ahead)) as futures:
        for future in futures:
            with waiting():
                result = future.result()
            yield result


def in_order(sources: Iterable[Iterable[Item]], *, threads: int, ahead: int) -> Iterator[Item]:
    """The items of each source in turn, made by several threads before they are asked for.

    At most `2 * threads` sources are begun and not yet handed out, each with `ahead` items in
    memory. `sources` itself is read by the calling thread, and no further than that.

    >>> list(in_order(["ab", "c"], threads=2, ahead=1))
    ['a', 'b', 'c']
    """
    pool = ThreadPoolExecutor(threads)

    def begin(source: Iterable[Item]) -> _Lane[Item]:
        lane = _Lane[Item](ahead)
        pool.submit(lane.fill, source)
        return lane

    try:
        with closing(begin_ahead(begin, sources, 2 * threads - 1)) as lanes:
            for lane in lanes:
                yield from lane.take()
    finally:
        pool.shutdown(cancel_futures=True)


def begin_ahead(
    begin: Callable[[In], Begun], items: Iterable[In], ahead: int
) -> Generator[Begun, None, None]:
    """What `begin` makes of each item, in order, while `ahead` later items are begun, too.

    What has begun is cancelled if the rest is not taken.
    """
    begun: deque[Begun] = deque()
    try:
        for item in items:
            begun.append(begin(item))
            if len(begun) > ahead:
                yield begun[0]
                begun.popleft()
        while begun:
            yield begun[0]
            begun.popleft()
    finally:
        for one in begun:
            one.cancel()
