"""A model that costs nothing and always gives the same labels, in workers that can be made to die.

Its labels are computed from the pixels: wrong bytes or a swapped image give other labels, hence
another root hash. Workers find everything here by import, so that it survives pickling.
"""

import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

from pipelines.run.folder import RunFolder
from possam_core.checkpoints.models import model_fingerprint
from possam_core.labels.masks import areas_and_boxes
from possam_core.vocabulary.vocabulary import Vocabulary

if TYPE_CHECKING:
    from possam_core.labels.segmentation import PanopticSegmentation

# Images of one colour that make the process die; JPEG changes them by a grey level at most.
EXIT_COLOUR = (255, 0, 255)
HOG_COLOUR = (0, 255, 255)
COLOUR_TOLERANCE = 8
HOG_BYTES = 512 * 2**20

BRIGHT = 200  # mean over RGB from which a pixel belongs to the thing
STUFF_ID, THING_ID = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a worker does beside its work."""

    seconds_an_image: float = 0.0
    kill_probability: float = 0.0  # at each of the four points, in [0, 1]
    seed: int = 0
    markers: str = ""  # folder in which every kill and every wasted shard leaves a file


class StandIn:
    """Names the mean colour as stuff, and the bright pixels, if any, as one thing."""

    def __init__(self, fingerprint: str, vocabulary: Vocabulary, orders: Orders) -> None:
        self.fingerprint = fingerprint
        self._vocabulary = vocabulary
        self._orders = orders

    def __call__(self, images: Sequence[ndarray]) -> "list[PanopticSegmentation]":
        """The segmentation of each image, unless one of them is a killer."""
        at_read()
        for pixels in images:
            _die_of(pixels)
        time.sleep(self._orders.seconds_an_image * len(images))
        return [self._segment(pixels) for pixels in images]

    def _segment(self, pixels: ndarray) -> "PanopticSegmentation":
        # Seconds of imports, which drivers do without.
        from possam_core.labels.segmentation import PanopticSegmentation
        from tests.factories import make_segment

        ids = np.where(pixels.mean(axis=-1) >= BRIGHT, THING_ID, STUFF_ID).astype(np.int32)
        number = int(pixels.sum())  # any other pixel gives another number
        segments = []
        for segment_id, geometry in areas_and_boxes(ids).items():
            classes = [
                (index, entry)
                for index, entry in enumerate(self._vocabulary.classes)
                if entry.is_thing == (segment_id == THING_ID)
            ]
            index, entry = classes[number % len(classes)]
            segments.append(
                make_segment(
                    id=segment_id,
                    class_index=index,
                    category_id=entry.category_id,
                    category_name=entry.name,
                    is_thing=entry.is_thing,
                    area_px=geometry.area_px,
                    bbox_xywh=geometry.bbox_xywh,
                    score=(number % 1000) / 1000,
                )
            )
        return PanopticSegmentation(ids=ids, segments=tuple(segments))


def load(model: str, vocabulary: Vocabulary, orders: Orders) -> StandIn:
    """The stand-in under the fingerprint of `model`; from here on its worker obeys `orders`."""
    if parent_process() is None and orders.markers:  # never in the child of careful mode
        _obey(orders)
    return StandIn(model_fingerprint(model), vocabulary, orders)


def loader(orders: Orders = Orders()) -> "partial[StandIn]":
    """What `run_label` takes as `load_model`."""
    return partial(load, orders=orders)


class _Reaper:
    """Kills its own process at seeded points of the way of a shard."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._attempt = ""  # the shard and its attempt
        self._folder = Path(orders.markers)

    def start(self) -> None:
        """The first point; the markers of earlier starts show which start this is."""
        number = 0
        while not self.mark(f"start-{number}"):
            number += 1
        self._maybe_kill(f"at-start-{number}")

    def take(self, shard: int, attempt: int) -> None:
        """Note what the worker has in hand."""
        self._attempt = f"{shard}-{attempt}"

    def maybe_kill(self, point: str) -> None:
        """The other points: once each for an attempt at a shard."""
        self._maybe_kill(f"{point}-{self._attempt}")

    def mark(self, name: str) -> bool:
        """Leave a marker; False if there is one already."""
        try:
            (self._folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _maybe_kill(self, point: str) -> None:
        draw = random.Random(f"{self._orders.seed}-{point}").random()
        if draw < self._orders.kill_probability and self.mark(f"killed-{point}"):
            os.kill(os.getpid(), signal.SIGKILL)


_reaper: _Reaper | None = None  # of this process


def at_read() -> None:
    """The point after the first images of a shard have been read."""
    if _reaper is not None:
        _reaper.maybe_kill("after-read")


def _obey(orders: Orders) -> None:
    """Wrap what this worker does to the run folder in the points at which it may die."""
    global _reaper
    _reaper = reaper = _Reaper(orders)
    start_attempt, commit = RunFolder.start_attempt, RunFolder.commit

    def start_attempt_and_note(run: RunFolder, shard: int, round: int = 0) -> int:
        attempt = start_attempt(run, shard, round)
        reaper.take(shard, attempt)
        return attempt

    def commit_between_kills(run: RunFolder, shard: int, data: bytes, round: int = 0) -> bool:
        reaper.maybe_kill("before-put")
        is_new = commit(run, shard, data, round)
        reaper.maybe_kill("after-put")
        if not is_new:
            reaper.mark(f"wasted-{shard}-{os.getpid()}")
        return is_new

    RunFolder.start_attempt = start_attempt_and_note  # type: ignore[assignment,method-assign]
    RunFolder.commit = commit_between_kills  # type: ignore[assignment,method-assign]
    reaper.start()


def _die_of(pixels: ndarray) -> None:
    """Return unless the image is of a killer's colour."""
    mean = pixels.mean(axis=(0, 1))
    if np.abs(mean - EXIT_COLOUR).max() < COLOUR_TOLERANCE:
        os._exit(1)
    if np.abs(mean - HOG_COLOUR).max() < COLOUR_TOLERANCE:
        hoard = np.ones(HOG_BYTES, np.uint8)  # so much is really taken, and then ...
        os.kill(os.getpid(), signal.SIGKILL if hoard.any() else 0)  # ... the kernel would do this
