"""Planned images -> rows: fetch, decode, predict and encode, each one step ahead of the next.

Knows no Ray: a worker of the job holds one of these, and so does the child of careful mode.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from jaxtyping import UInt8
from numpy import ndarray

from pipelines.image_reader import Fetched, ImageReader
from pipelines.inputs import InputImage
from pipelines.rows import Row, error_row, label_row
from possam_core.image_decode import DecodedImage, ImageError, ImageErrorCode, decode_image
from possam_core.panoptic import PanopticSegmentation
from possam_core.predictor import load_predictor
from possam_core.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

BATCH_SIZE = 8  # fixed: an image's batch must not depend on the machine
FETCH_THREADS = 16
FETCH_AHEAD = 32  # images whose compressed bytes may wait
DECODE_THREADS = 2

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image and its pixels, or why there are none."""

    image: InputImage
    decoded: DecodedImage | ImageError


@dataclass(frozen=True, slots=True)
class Predicted:
    """An image and its labels, or why there are none."""

    image: InputImage
    segmentation: PanopticSegmentation | ImageError
    exif_orientation: int


class ImageLabeller:
    """Holds one model and the threads that feed it."""

    def __init__(self, model: str, vocabulary: Vocabulary) -> None:
        # One thread always: another number sums in another order, and the same image would get
        # other bits on another machine. More cores are used by more workers.
        torch.set_num_threads(1)
        self.predictor = load_predictor(model, vocabulary)
        self.reader = ImageReader()
        self._fetchers = ThreadPoolExecutor(FETCH_THREADS)
        self._decoders = ThreadPoolExecutor(DECODE_THREADS)
        self._encoders = ThreadPoolExecutor(1)

    def rows(self, images: Iterable[InputImage]) -> Iterator[Row]:
        """One row per image, in order.

        Raises:
            Exception: what the store raises in transient trouble; the rows so far are void then.
        """
        fetched = run_ahead(self._fetchers, self.reader.fetch, images, FETCH_AHEAD)
        decoded = run_ahead(self._decoders, _decode, fetched, BATCH_SIZE)
        return run_ahead(self._encoders, _encode, self._predict_all(decoded), BATCH_SIZE)

    def batch_rows(self, batch: list[Fetched]) -> list[Row]:
        """The rows of images that share one forward pass."""
        return [_encode(p) for p in self._predict([_decode(f) for f in batch])]

    def _predict_all(self, decoded: Iterator[Decoded]) -> Iterator[Predicted]:
        while batch := list(islice(decoded, BATCH_SIZE)):
            yield from self._predict(batch)

    def _predict(self, batch: list[Decoded]) -> list[Predicted]:
        good = [d.decoded for d in batch if isinstance(d.decoded, DecodedImage)]
        segmentations = iter(self._segment([d.pixels for d in good]))
        return [
            Predicted(d.image, d.decoded, 1)
            if isinstance(d.decoded, ImageError)
            else Predicted(d.image, next(segmentations), d.decoded.exif_orientation)
            for d in batch
        ]

    def _segment(
        self, images: list[UInt8[ndarray, "H W 3"]]
    ) -> list[PanopticSegmentation | ImageError]:
        """Predict together; if that fails, one by one, so that a bad image fails alone."""
        if not images:
            return []
        try:
            return list(self.predictor(images))
        except Exception as error:  # whatever the model raises, the image's row names it
            if len(images) > 1:
                logger.warning("a batch of %d failed, one by one now", len(images), exc_info=True)
                return [self._segment([image])[0] for image in images]
            logger.warning("inference failed on one image", exc_info=True)
            is_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError))
            code = ImageErrorCode.OUT_OF_MEMORY if is_memory else ImageErrorCode.INFERENCE_FAILED
            return [ImageError(code, f"{type(error).__name__}: {error}")]


def run_ahead(
    pool: Executor, function: Callable[[In], Out], items: Iterable[In], ahead: int
) -> Iterator[Out]:
    """Yield `function(item)` in order, while up to `ahead` later items are at work in `pool`."""
    pending: deque[Future[Out]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _decode(fetched: Fetched) -> Decoded:
    if isinstance(fetched.data, ImageError):
        return Decoded(fetched.image, fetched.data)
    try:
        return Decoded(fetched.image, decode_image(fetched.data))
    except ImageError as error:
        return Decoded(fetched.image, error)


def _encode(predicted: Predicted) -> Row:
    if isinstance(predicted.segmentation, ImageError):
        return error_row(predicted.image, predicted.segmentation)
    return label_row(
        predicted.image, predicted.segmentation, exif_orientation=predicted.exif_orientation
    )
