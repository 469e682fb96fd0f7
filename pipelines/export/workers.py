"""The worker processes that export shards in parallel."""

import atexit
import multiprocessing
import pickle
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache

from pipelines.export.parts import PartHead
from pipelines.export.unit import ExportJob, export_unit
from possam_core.errors import ConfigError
from possam_core.processes import end_with_parent, usable_cpus

LARGE_BLOCK_BYTES = 2**25 - 2**16  # just below glibc's largest dynamic threshold


def export_units(job: ExportJob, shards: list[int]) -> Iterator[PartHead]:
    """Export each of `shards`, in any order; with one worker, in this process.

    Raises:
        ConfigError: a shard failed; no other is started after it.
    """
    num_workers = min(job.config.num_workers or usable_cpus(), len(shards))
    if num_workers <= 1:
        _keep_freed_memory()
        yield from (export_unit(job, shard) for shard in shards)
        return
    message = pickle.dumps(job)
    # Spawned, because threads of the store's client would be lost in a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, context, initializer=_prepare_worker)
    try:
        for done in as_completed([pool.submit(_export, message, shard) for shard in shards]):
            yield done.result()
    except BrokenProcessPool as error:
        raise ConfigError(
            "expected every worker to finish, but one was killed, most likely out of memory;"
            " lower --num-workers and run the same command again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    """Leave Ctrl-C to the parent process, and end when the parent has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit.register(_job.cache_clear)  # else DuckDB warns of connections that outlive it
    _keep_freed_memory()
    end_with_parent()


def _keep_freed_memory() -> None:
    """Make malloc reuse the freed memory of pixel maps.

    Otherwise glibc returns each of them to the kernel, which clears new pages for the next one: a
    third of all time. It stops once a block this large has been freed; this one is never touched.
    """
    bytearray(LARGE_BLOCK_BYTES)


def _export(message: bytes, shard: int) -> PartHead:
    return export_unit(_job(message), shard)


@lru_cache(maxsize=1)
def _job(message: bytes) -> ExportJob:
    """The job, unpickled once a process, so that retries and corrections are also read once."""
    job: ExportJob = pickle.loads(message)
    return job
