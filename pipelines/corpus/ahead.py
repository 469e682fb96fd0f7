"""Work through slow iterators side by side, and hand out their items one iterator after another."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Event
from typing import Generic, TypeVar

Item = TypeVar("Item")


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


def in_order(sources: Iterable[Iterable[Item]], *, threads: int, ahead: int) -> Iterator[Item]:
    """The items of each source in turn, made by several threads before they are asked for.

    At most `2 * threads` sources are begun and not yet handed out, each with `ahead` items in
    memory. `sources` itself is read by the calling thread, and no further than that.
    """
    pool = ThreadPoolExecutor(threads)
    lanes: deque[_Lane[Item]] = deque()
    waiting = iter(sources)
    try:
        while True:
            while len(lanes) < 2 * threads and (source := next(waiting, None)) is not None:
                lane = _Lane[Item](ahead)
                pool.submit(lane.fill, source)
                lanes.append(lane)
            if not lanes:
                return
            yield from lanes[0].take()
            lanes.popleft()
    finally:
        for lane in lanes:
            lane.cancel()
        pool.shutdown(cancel_futures=True)
