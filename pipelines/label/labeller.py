"""Planned images -> rows: fetch, decode, predict and encode, each one step ahead of the next.

Does not use Ray: each worker of the job holds one of these, and so does careful mode's child.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, Protocol

import torch

from pipelines.corpus.image import InputImage
from pipelines.fetch.image_reader import Fetched, ImageReader
from pipelines.label.rows import error_row, label_row
from pipelines.label.stages import Stage, StageClock
from pipelines.schema import Row
from possam_core.ahead import begin_ahead, run_ahead
from possam_core.evaluation.consistency import CHANGES, is_sampled, measure_consistency
from possam_core.images.decode import DecodedImage, ImageError, ImageErrorCode, decode_image
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.teachers.teacher import Picture, Teacher

logger = logging.getLogger(__name__)

BATCH_SIZE = 8  # fixed: an image's batch must not depend on the machine
BATCHES_AHEAD = 1  # begun on an accelerator before the results of the one in turn are taken
GROW_AFTER = 16  # batches without trouble, after which a halved batch doubles again
FETCH_THREADS = 16
IMAGES_AHEAD = 32  # whose compressed bytes may wait in memory
DECODE_THREADS = 2


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image and its pixels, or why there are none."""

    image: InputImage
    decoded: DecodedImage | ImageError
    picture: Picture | None = None  # what the model takes; None: there are no pixels


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """The labels of one image, and the pixels that they describe."""

    decoded: DecodedImage
    segmentation: PanopticSegmentation
    consistency: float | None  # None: not sampled for it, or a changed copy failed


@dataclass(frozen=True, slots=True)
class Predicted:
    """An image and its labels, or why there are none."""

    image: InputImage
    labels: ImageLabels | ImageError


@dataclass(frozen=True, slots=True)
class BegunBatch:
    """Images whose labels have been asked for, but not taken."""

    batch: list[Decoded]
    num_begun: int  # of the images with pixels; fewer than all where memory was short
    finish: Callable[[], list[PanopticSegmentation]]  # of those

    def take(self, _images: Sequence[Picture]) -> list[PanopticSegmentation]:
        """The labels of the images that were begun."""
        return self.finish()

    def cancel(self) -> None:
        """Leave the labels where they are; an accelerator cannot be stopped half-way."""


class ImagePredictor(Protocol):
    """A model that labels images; every `possam_core.Teacher` is one.

    Only a teacher begins a batch before the one before it has ended.
    """

    @property
    def fingerprint(self) -> str:
        """sha256 of its weights."""

    def __call__(self, images: Sequence[Any]) -> list[PanopticSegmentation]:
        """Label upright RGB images (H, W, 3) of uint8, in order; a teacher gets prepared ones."""


class ImageLabeller:
    """Holds one model and the threads that feed it."""

    def __init__(
        self,
        load: Callable[[], ImagePredictor],
        reader: ImageReader,
        *,
        consistency_share: float = 0.0,
    ) -> None:
        """Label the images that `reader` reads with the model that `load` returns.

        For a share of the images, changed copies are labelled, too, to measure consistency.
        """
        # Always one thread: another number adds in another order, so the same image would get
        # other bits on another machine. More workers use more cores.
        torch.set_num_threads(1)  # before the model embeds its vocabulary
        self.predictor = load()
        self.reader = reader
        self.consistency_share = consistency_share
        self.clock = StageClock()
        self.num_halvings = 0  # of the batch, because memory ran out
        self._batch_size = BATCH_SIZE
        self._num_good = 0  # batches since then
        self._fetchers = ThreadPoolExecutor(FETCH_THREADS)
        self._decoders = ThreadPoolExecutor(DECODE_THREADS)
        self._encoders = ThreadPoolExecutor(1)

    @property
    def how(self) -> str:
        """How the model computes, for people; empty: it does not say."""
        return self.predictor.how if isinstance(self.predictor, Teacher) else ""

    def rows(self, images: Sequence[InputImage]) -> Iterator[Row]:
        """One row per image, in order.

        Raises:
            Exception: a transient failure of the store; the rows so far must then be discarded.
        """
        # Units of a container are ranges of a file: one of them waiting in memory is enough.
        ahead = 1 if images and images[0].container else IMAGES_AHEAD
        units = self.reader.units(images)
        fetched = chain.from_iterable(
            run_ahead(self._fetchers, self.reader.fetch, units, ahead, self._waiting_for("fetch"))
        )
        decoded = run_ahead(
            self._decoders, self._decode, fetched, BATCH_SIZE, self._waiting_for("decode")
        )
        predicted = self._predict_all(decoded)
        return run_ahead(
            self._encoders, _encode, predicted, BATCH_SIZE, self._waiting_for("encode")
        )

    def batch_rows(self, batch: list[Fetched]) -> list[Row]:
        """The rows of images that share one forward pass."""
        return [_encode(p) for p in self._finish(self._begin([self._decode(f) for f in batch]))]

    def _waiting_for(self, stage: Stage) -> Callable[[], AbstractContextManager[None]]:
        return partial(self.clock.held_up_by, stage)

    def _predict_all(self, decoded: Iterator[Decoded]) -> Iterator[Predicted]:
        batches = iter(lambda: list(islice(decoded, BATCH_SIZE)), [])
        with closing(begin_ahead(self._begin, batches, BATCHES_AHEAD)) as all_begun:
            for begun in all_begun:
                with self.clock.held_up_by("model"):
                    predicted = self._finish(begun)
                yield from predicted

    def _decode(self, fetched: Fetched) -> Decoded:
        """The pixels, prepared for the model; in any thread."""
        if isinstance(fetched.data, ImageError):
            return Decoded(fetched.image, fetched.data)
        try:
            decoded = decode_image(fetched.data)
        except ImageError as error:
            return Decoded(fetched.image, error)
        picture: Picture = decoded.pixels
        if isinstance(self.predictor, Teacher):
            # Of any kind: the image then fails again in its batch, and becomes a row.
            with suppress(Exception):
                picture = self.predictor.prepare(decoded.pixels)
        return Decoded(fetched.image, decoded, picture)

    def _begin(self, batch: list[Decoded]) -> BegunBatch:
        """Ask for the labels of a batch; what fails at once fails again when they are taken."""
        pictures = _pictures(batch)[: self._batch_size]
        with self.clock.held_up_by("model"):
            finish: Callable[[], list[PanopticSegmentation]] = partial(self.predictor, pictures)
            if isinstance(self.predictor, Teacher) and pictures:
                try:
                    finish = self.predictor.begin(pictures)
                except Exception as error:  # of any kind: it is for `_segment` to judge
                    finish = partial(_fail, error)
            return BegunBatch(batch, len(pictures), finish)

    def _finish(self, begun: BegunBatch) -> list[Predicted]:
        segmentations = iter(self._segment(_pictures(begun.batch), begun))
        return [
            Predicted(d.image, d.decoded)
            if isinstance(d.decoded, ImageError)
            else Predicted(d.image, self._labels(d.image, d.decoded, next(segmentations)))
            for d in begun.batch
        ]

    def _labels(
        self,
        image: InputImage,
        decoded: DecodedImage,
        segmentation: PanopticSegmentation | ImageError,
    ) -> ImageLabels | ImageError:
        if isinstance(segmentation, ImageError):
            return segmentation
        consistency = None
        if is_sampled(image.image_id, self.consistency_share):
            # In a batch of their own, so that the image's own batch is the same as without them.
            of_copies = self._segment([change.apply(decoded.pixels) for change in CHANGES])
            whole = [s for s in of_copies if isinstance(s, PanopticSegmentation)]
            if len(whole) == len(CHANGES):
                consistency = measure_consistency(segmentation, whole)
        return ImageLabels(decoded, segmentation, consistency)

    def _segment(
        self, images: Sequence[Picture], begun: BegunBatch | None = None
    ) -> list[PanopticSegmentation | ImageError]:
        """Predict together; after a failure in smaller batches, so that a bad image fails alone.

        The first images may have been `begun` already.
        """
        results: list[PanopticSegmentation | ImageError] = []
        is_alone = False  # one by one from now on, because one of these images fails
        while len(results) < len(images):
            size = 1 if is_alone else self._batch_size
            predict: Callable[[Sequence[Any]], list[PanopticSegmentation]] = self.predictor
            if begun is not None and begun.num_begun <= size:
                size, predict = begun.num_begun, begun.take
            begun = None  # one that is too large by now would fail as the one before it
            part = images[len(results) : len(results) + size]
            try:
                results += predict(part)
                self._grow_back()
            except Exception as error:  # of any kind: it becomes the image's row
                is_memory = _is_out_of_memory(error)
                if len(part) == 1:
                    codes = ImageErrorCode
                    code = codes.OUT_OF_MEMORY if is_memory else codes.INFERENCE_FAILED
                    logger.warning("inference failed on one image", exc_info=True)
                    results.append(ImageError(code, f"{type(error).__name__}: {error}"))
                elif is_memory:
                    self._halve(len(part))
                else:
                    logger.warning("%d images failed, one by one now", len(part), exc_info=True)
                    is_alone = True
        return results

    def _halve(self, num_images: int) -> None:
        self._batch_size = num_images // 2
        self._num_good = 0
        self.num_halvings += 1
        logger.warning("out of memory, %d images at once from now on", self._batch_size)
        torch.cuda.empty_cache()  # does nothing without a GPU

    def _grow_back(self) -> None:
        self._num_good += 1
        if self._batch_size < BATCH_SIZE and self._num_good >= GROW_AFTER:
            self._batch_size, self._num_good = min(2 * self._batch_size, BATCH_SIZE), 0
            logger.info("memory suffices, %d images at once from now on", self._batch_size)


def _pictures(batch: list[Decoded]) -> list[Picture]:
    return [d.picture for d in batch if d.picture is not None]


def _fail(error: Exception) -> list[PanopticSegmentation]:
    raise error


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; on a CPU torch has no exception of its own for it."""
    is_allocator = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return is_allocator or isinstance(error, MemoryError | torch.OutOfMemoryError)


def _encode(predicted: Predicted) -> Row:
    labels = predicted.labels
    if isinstance(labels, ImageError):
        return error_row(predicted.image, labels)
    return label_row(
        predicted.image, labels.decoded, labels.segmentation, consistency=labels.consistency
    )
