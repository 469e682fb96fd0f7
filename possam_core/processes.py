"""Child processes, CPUs, and the threads of torch in each process."""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread


def usable_cpus() -> int:
    """CPUs that this process may run on: fewer than the machine has under `taskset` or Slurm."""
    return len(os.sched_getaffinity(0))


def default_workers(num_cpus: int) -> int:
    """How many workers label by default on so many CPUs: all but one, which stays free.

    The scheduler, the store's clients and the process that waits need one, too.

    >>> [default_workers(num_cpus) for num_cpus in (1, 2, 8)]
    [1, 1, 7]
    """
    return max(1, num_cpus - 1)


def end_with_parent() -> None:
    """End this `multiprocessing` child as soon as its parent ends, for whatever reason.

    Otherwise the children of a killed parent keep running, or wait for ever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait_and_end() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait_and_end, daemon=True).start()


@contextmanager
def torch_threads(num: int) -> Iterator[None]:
    """Torch uses `num` threads inside; after it, errors or not, as many as before."""
    import torch  # seconds that other processes do without

    before = torch.get_num_threads()
    torch.set_num_threads(num)
    try:
        yield
    finally:
        torch.set_num_threads(before)
