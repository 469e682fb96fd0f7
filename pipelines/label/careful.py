"""Careful mode: a shard's images go through a child process that may die instead of the worker.

Used from a shard's third attempt on, because an image in it may have killed the first two.
"""

import logging
import multiprocessing
import resource
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from pipelines.corpus.image import InputImage
from pipelines.fetch.image_reader import Fetched, ImageReader
from pipelines.label.labeller import BATCH_SIZE, ImageLabeller, ImagePredictor
from pipelines.schema import Row
from possam_core.errors import PossamError
from possam_core.images.decode import ImageError, ImageErrorCode

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 300.0  # to load the model
IMAGE_TIMEOUT_S = 60.0  # to decode and label one image
IMPORTED_ONCE = ["pipelines.label.careful", "pipelines.label.job", "possam_core.predictor"]
EXTRA_MEMORY_BYTES = 4 * 2**30  # on top of what the loaded model has mapped


class CarefulLabeller:
    """Labels through a child that is replaced whenever an image kills or stalls it."""

    def __init__(
        self,
        load: Callable[[], ImagePredictor],
        reader: ImageReader,
        *,
        consistency_share: float = 0.0,
    ) -> None:
        """The child loads the model with `load`; the images are read here, with `reader`."""
        self._load = load
        self._consistency_share = consistency_share
        self._reader = reader
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def rows(self, images: Iterable[InputImage]) -> Iterator[Row]:
        """One row per image, in order; an image that kills the child gets the error `poison`."""
        units = self._reader.units(images)
        fetched = chain.from_iterable(map(self._reader.fetch, units))
        try:
            while batch := list(islice(fetched, BATCH_SIZE)):
                yield from self._batch_rows(batch)
        finally:
            self._stop()

    def _batch_rows(self, batch: list[Fetched]) -> list[Row]:
        """Label a batch; if that fails, find the images at fault, and label it without them.

        The others stay in one batch, so their labels have the same bits as outside careful mode.
        """
        rows = self._ask(batch)
        if not isinstance(rows, ImageError):
            return rows
        tested = [f if (e := self._find_error(f)) is None else Fetched(f.image, e) for f in batch]
        rows = self._ask(tested)
        if isinstance(rows, ImageError):
            raise rows  # no single image is at fault, so the shard stays open
        return rows

    def _find_error(self, fetched: Fetched) -> ImageError | None:
        """The error of an image that makes the child fail on its own, or None."""
        if isinstance(fetched.data, ImageError):
            return None
        rows = self._ask([fetched])
        if not isinstance(rows, ImageError):
            return None
        logger.warning("%s: %s", fetched.image.uri, rows)
        return rows

    def _ask(self, batch: list[Fetched]) -> list[Row] | ImageError:
        """The child's rows, or the error with which it ended."""
        pipe = self._pipe or self._start()
        timeout_s = IMAGE_TIMEOUT_S * len(batch)
        try:
            pipe.send(batch)
            if pipe.poll(timeout_s):
                rows: list[Row] = pipe.recv()
                return rows
            code, reason = ImageErrorCode.DECODE_TIMEOUT, f"it took over {timeout_s:.0f} s"
        except (EOFError, OSError):
            code, reason = ImageErrorCode.POISON, "it killed the process that worked on it"
        self._stop()
        return ImageError(code, reason)

    def _start(self) -> Connection:
        """A child that has loaded the model.

        Raises:
            PossamError: it died or stalled first, for which no image is at fault.
        """
        # A child starts at once: it is forked from a process that has these modules imported
        # and no threads.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED_ONCE)
        self._pipe, childs_end = context.Pipe()
        arguments = (childs_end, self._load, self._consistency_share)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        childs_end.close()
        try:
            is_ready = self._pipe.poll(START_TIMEOUT_S) and self._pipe.recv()
        except (EOFError, OSError):
            is_ready = False
        if not is_ready:
            self._stop()
            raise PossamError(
                "expected a child process that loads the model, but it died or stalled first;"
                " look at the worker's log and free some memory"
            )
        return self._pipe

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def _serve(pipe: Connection, load: Callable[[], ImagePredictor], consistency_share: float) -> None:
    """The child: load the model, then turn batches into rows until the parent is gone."""
    labeller = ImageLabeller(load, ImageReader(), consistency_share=consistency_share)
    _limit_memory()
    pipe.send(True)
    while True:
        try:
            batch = pipe.recv()
        except EOFError:
            return
        pipe.send(labeller.batch_rows(batch))


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + EXTRA_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
