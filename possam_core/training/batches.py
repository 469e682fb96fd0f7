"""Batches of views of a data set, read by threads while the network trains on earlier ones."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from possam_core.ahead import run_ahead
from possam_core.images.batch import ImageBatch
from possam_core.training.data.augment import (
    AugmentConfig,
    draw_view,
    keep_present,
    view_ids,
    view_image,
)
from possam_core.training.data.labelled import LabelledImages
from possam_core.training.data.scenes import Batches, ImageView, SceneBatch
from possam_core.training.stage import LoopConfig


@dataclass(frozen=True, slots=True)
class _Sample:
    pixels: Tensor  # (3, S, S)
    ids: Tensor  # (S, S)
    classes: Tensor
    shown_hw: tuple[int, int]
    image_hw: tuple[int, int]
    source: ImageView


class ViewedImages:
    """Batches of a data set: each epoch in a new order, each image in a newly drawn view.

    Crowds, and segments outside a view, are not targets.
    """

    def __init__(
        self,
        images: LabelledImages,
        augment: AugmentConfig,
        loop: LoopConfig,
        *,
        canvas: int,
        num_readers: int = 4,
    ) -> None:
        """Read with `num_readers` threads; order and views follow from the loop's settings."""
        self.images, self.augment, self.canvas = images, augment, canvas
        self.batch_size, self.seed = loop.batch_size, loop.seed
        self._pool = ThreadPoolExecutor(num_readers, thread_name_prefix="reader")
        self._order = lru_cache(maxsize=2)(self._draw_order)

    def read(self, step: int, positions: Sequence[int]) -> SceneBatch:
        """The images at `positions` of the batch of step `step`."""
        samples = list(self._pool.map(lambda p: self._sample(step, p), positions))
        valid = torch.zeros((len(samples), self.canvas, self.canvas), dtype=torch.bool)
        for i, sample in enumerate(samples):
            height, width = sample.shown_hw
            valid[i, :height, :width] = True
        return SceneBatch(
            ImageBatch(
                torch.stack([s.pixels for s in samples]),
                valid,
                tuple(s.shown_hw for s in samples),
                tuple(s.image_hw for s in samples),
            ),
            torch.stack([s.ids for s in samples]),
            tuple(s.classes for s in samples),
            tuple(s.source for s in samples),
        )

    def _sample(self, step: int, position: int) -> _Sample:
        epoch, place = divmod(step * self.batch_size + position, len(self.images))
        index = int(self._order(epoch)[place])
        image = self.images.read(index)
        height, width = image.ids.shape
        rng = np.random.default_rng((self.seed, step, position))
        view = draw_view((height, width), self.canvas, self.augment, rng)
        ids, kept = keep_present(
            view_ids(image.ids, view, self.canvas),
            num_segments=len(image.class_indices),
            dropped=image.crowds,
        )
        return _Sample(
            view_image(image.pixels, view, self.canvas),
            torch.from_numpy(ids).long(),
            torch.tensor([image.class_indices[i - 1] for i in kept], dtype=torch.long),
            view.shown_hw(self.canvas),
            (height, width),
            ImageView(image.name, index, view.is_flipped),
        )

    def _draw_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.images))


class ReadAhead:
    """The parts of each step's batch; the next step's are read during the current step."""

    def __init__(self, batches: Batches, parts: Sequence[Sequence[int]], *, num_steps: int) -> None:
        """Read `parts` of each batch: positions of the images of each."""
        self._batches, self._parts, self._num_steps = batches, parts, num_steps
        self._next_step: int | None = None
        self._ahead: Iterator[list[SceneBatch]] = iter(())  # of that step and all later ones
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")

    def close(self) -> None:
        """Cancel pending reads."""
        self._ahead = iter(())
        self._thread.shutdown(wait=True, cancel_futures=True)

    def read(self, step: int) -> list[SceneBatch]:
        """This worker's parts of the batch of step `step`."""
        if step != self._next_step:
            steps = range(step, self._num_steps)
            self._ahead = run_ahead(self._thread, self._read_parts, steps, 1)
        self._next_step = None  # start again after a step that cannot be read
        parts = next(self._ahead)
        self._next_step = step + 1
        return parts

    def _read_parts(self, step: int) -> list[SceneBatch]:
        return [self._batches.read(step, part) for part in self._parts]


def split_share(share: range, at_once: int | None) -> list[range]:
    """A worker's positions in parts of at most `at_once`; None: one part."""
    size = at_once or len(share)
    return [share[start : start + size] for start in range(0, len(share), size)]
