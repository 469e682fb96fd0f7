"""The processes that train one model together: how they split work, sum and agree.

Alone, a process has the whole batch, and every sum is its own.
"""

import copy
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import torch
from torch import distributed, nn

from possam_core.processes import end_with_parent, torch_threads

T = TypeVar("T")

TIMEOUT = timedelta(minutes=5)  # for a worker that starts, or that measures meanwhile
EXIT_TIMEOUT_S = 60.0  # for the others to see that the first has left


class Workers:
    """This process among those of torch's default process group, or by itself if there is none."""

    def __init__(self) -> None:
        is_group = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if is_group else 0
        self.num = distributed.get_world_size() if is_group else 1

    @property
    def is_first(self) -> bool:
        """The first worker writes files and progress."""
        return self.rank == 0

    def share(self, size: int) -> range:
        """The part of `range(size)` that is this worker's; parts differ by one at most."""
        return range(self.rank * size // self.num, (self.rank + 1) * size // self.num)

    def total(self, values: Sequence[float]) -> list[float]:
        """Each value summed over the workers."""
        if self.num == 1:
            return list(values)
        return [sum(column) for column in zip(*self.gather(list(values)), strict=True)]

    def gather(self, value: T) -> list[T]:
        """The values of all workers, by rank."""
        if self.num == 1:
            return [value]
        brought: list[T | None] = [None] * self.num
        distributed.all_gather_object(brought, value)
        return brought  # type: ignore[return-value] # all are filled now

    def from_first(self, value: T) -> T:
        """The first worker's value."""
        if self.num == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    @torch.no_grad()
    def align(self, module: nn.Module) -> None:
        """Give every worker the first one's parameters and buffers."""
        if self.num > 1:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, src=0)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum each gradient over the workers; which parameters have one is the same in all."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.num == 1 or not gradients:
            return
        flat = torch.cat([g.flatten() for g in gradients])
        distributed.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()


def work_together(work: Callable[[], None], *, num: int) -> None:
    """Call `work` in `num` processes of one group, which share the threads of this one.

    This process is the first worker. The others get copies of all that `work` holds, so it must
    pickle; changes to the copies are lost. On a CPU, two workers of one thread train on more images
    a second than one of two threads.

    Raises:
        RuntimeError: another worker has failed; the reason is on stderr.
    """
    if num == 1:
        work()
        return
    share = max(1, torch.get_num_threads() // num)
    spawn = multiprocessing.get_context("spawn")
    with TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        others = [
            spawn.Process(target=_join, args=(work, rank, num, share, meeting), daemon=True)
            for rank in range(1, num)
        ]
        for other in others:
            other.start()
        try:
            with torch_threads(share):
                _work(work, 0, num, meeting)
        finally:
            for other in others:
                other.join(EXIT_TIMEOUT_S)


def _join(work: Callable[[], None], rank: int, num: int, num_threads: int, meeting: Path) -> None:
    end_with_parent()
    torch.set_num_threads(num_threads)
    # Tensors from the first worker are in shared memory, which both would write to.
    _work(copy.deepcopy(work), rank, num, meeting)


def _work(work: Callable[[], None], rank: int, num: int, meeting: Path) -> None:
    distributed.init_process_group(
        "gloo", init_method=meeting.as_uri(), timeout=TIMEOUT, rank=rank, world_size=num
    )
    try:
        work()
    finally:
        distributed.destroy_process_group()
