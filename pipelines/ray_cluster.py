"""The Ray cluster that a job runs on."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import ray
from ray._private import auto_init_hook, node, parameter, utils
from ray.data import DataContext

from possam_core.errors import PossamError, first_line
from possam_core.processes import usable_cpus

logger = logging.getLogger(__name__)

STDERR_FD = 2
OBJECT_STORE_BYTES = 128 * 2**20  # plenty: pixels never enter it


@contextmanager
def ray_cluster(num_workers: int | None, *, num_gpus: float | None = 0.0) -> Iterator[None]:
    """Run inside the cluster of this process or of RAY_ADDRESS; else inside a temporary one.

    Args:
        num_workers: for which a temporary cluster must have room; None: as many as there are CPUs.
        num_gpus: of one worker; 0: a temporary cluster declares none; None: one if there is one.
    """
    with _without_ray_data_messages():
        if ray.is_initialized():
            yield
            return
        with _failure_named():
            _join_or_start(num_workers, num_gpus)
        try:
            yield
        finally:
            # Otherwise the next call of an interrupted job would start another cluster.
            auto_init_hook.enable_auto_connect = False
            ray.shutdown()


def has_gpus() -> bool:
    """Whether the cluster of this process, or of RAY_ADDRESS, has GPUs; it is joined for that.

    Raises:
        PossamError: it cannot be joined.
    """
    with ray_cluster(None):
        return bool(ray.cluster_resources().get("GPU", 0) >= 1)  # type: ignore[no-untyped-call]


@contextmanager
def _without_ray_data_messages() -> Iterator[None]:
    """Ray Data draws and logs nothing inside; its settings are restored afterwards."""
    context, log = DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, context.print_on_execution_start, log.level
    context.enable_progress_bars = False  # our own bar counts images
    context.print_on_execution_start = False
    log.setLevel(logging.CRITICAL)  # failures are in our report
    try:
        yield
    finally:
        context.enable_progress_bars, context.print_on_execution_start, level = before
        log.setLevel(level)


def _join_or_start(num_workers: int | None, num_gpus: float | None) -> None:
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else it writes over the display
    if os.environ.get("RAY_ADDRESS"):
        with _without_ray_on_sigterm():
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
    else:
        try:
            _start(num_workers, num_gpus)
        except Exception as error:  # of any kind, as below; on a busy machine mostly a timeout
            logger.warning("Ray did not start (%s), trying once more", first_line(error))
            ray.shutdown()
            _start(num_workers, num_gpus)


def _start(num_workers: int | None, num_gpus: float | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage statistics
    # Ray's core announces that log level on stderr.
    with _without_ray_on_sigterm(), _without_spectators(), _without_stderr():
        ray.init(
            address="local",
            num_cpus=max(usable_cpus(), (num_workers or 1) + 1),  # one CPU stays free
            num_gpus=0 if num_gpus == 0 else None,  # None: Ray counts them
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
        )


@contextmanager
def _without_spectators() -> Iterator[None]:
    """Start no processes that only look on: Ray's web server, log monitor and autoscaler.

    They take a second of processor time at the start of every run. Switched off by `ray.init`, the
    first two start all the same, and the third has nothing to do on a cluster of one node.
    """
    bare = partial(
        parameter.RayParams,
        no_monitor=True,
        include_log_monitor=False,  # type: ignore[arg-type]  # typed as text
    )
    with (
        patch.object(parameter, "RayParams", bare),
        patch.object(node.Node, "start_api_server", lambda *_, **__: None),
    ):
        yield


@contextmanager
def _failure_named() -> Iterator[None]:
    """Turn what Ray raises where it cannot start or be joined into one sentence.

    Raises:
        PossamError: it could not.
    """
    try:
        yield
    except Exception as error:  # of any kind: Ray raises bare ones, too
        address = os.environ.get("RAY_ADDRESS")
        if address:
            raise PossamError(
                f"expected a Ray cluster at RAY_ADDRESS {address}, but it cannot be joined"
                f" ({first_line(error)}); start it, correct the address, or unset it"
            ) from error
        raise PossamError(
            f"expected Ray to start, but it did not ({first_line(error)}); see with possam doctor"
            " whether memory, disk and open files suffice, end leftovers with `ray stop`, and run"
            " the same command again"
        ) from error


@contextmanager
def _without_ray_on_sigterm() -> Iterator[None]:
    """Leave SIGTERM to the handlers that this process has.

    Ray's own Python handler would exit in the middle of Ray's start, with another code and with
    processes left behind. Ray's core installs one below Python's, so ours is installed again.
    Signals can only be handled in the main thread, and Ray, too, installs handlers only there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    install = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda _handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = install
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
