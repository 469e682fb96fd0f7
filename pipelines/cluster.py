"""The Ray cluster that a job runs on."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._private import auto_init_hook
from ray.data import DataContext

STDERR_FD = 2
TERMINATED = 128 + signal.SIGTERM  # as a shell calls the end by a signal
OBJECT_STORE_BYTES = 128 * 2**20  # plenty: pixels never enter it


@contextmanager
def ray_cluster(num_workers: int | None, *, num_gpus: float = 0.0) -> Iterator[None]:
    """The cluster that this process is in, or RAY_ADDRESS names; else one of our own, for now.

    Args:
        num_workers: that one of our own must have room for; None: as many as there are CPUs.
        num_gpus: of one worker; 0: ours declares none.
    """
    context = DataContext.get_current()
    context.enable_progress_bars = False  # ours counts images
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails is in our report
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else it writes into the display
    if os.environ.get("RAY_ADDRESS"):
        with _keeping_sigterm():
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
    else:
        num_cpus = len(os.sched_getaffinity(0))
        with _keeping_sigterm(), _without_stderr():  # where Ray's core announces that log level
            ray.init(
                address="local",
                num_cpus=max(num_cpus, (num_workers or 1) + 1),  # one stays free of workers
                num_gpus=None if num_gpus else 0,  # None: Ray counts them
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE_BYTES,
            )
    try:
        yield
    finally:
        # A job that is interrupted would start another cluster with its next call.
        auto_init_hook.enable_auto_connect = False
        ray.shutdown()


@contextmanager
def _keeping_sigterm() -> Iterator[None]:
    """Undo what Ray does inside to the handling of SIGTERM.

    It would end the process by a code of its own; while it starts it does so, and that code is
    mended here. Signals can only be handled in the main thread, and Ray leaves others alone, too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as error:
        raise SystemExit(TERMINATED if error.code == signal.SIGTERM else error.code) from None
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Discard what native code writes to stderr; exceptions are not affected."""
    saved = os.dup(STDERR_FD)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device
        os.dup2(nowhere.fileno(), STDERR_FD)
    try:
        yield
    finally:
        os.dup2(saved, STDERR_FD)
        os.close(saved)
