"""Consistency of a model's labels when an image is mirrored or shrunk.

A share of the images is labelled again as changed copies; these labels are mapped back onto the
image and compared with its own. Which images are chosen depends only on their ids, and the result
only on their pixels.

Axes: H W pixels of the image, h w of the same image, shrunk.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, UInt8
from numpy import ndarray
from PIL import Image

from possam_core.evaluation.panoptic_quality import (
    PanopticAnnotation,
    count_matches,
    summarise,
)
from possam_core.labels.masks import VOID_ID, present_ids
from possam_core.labels.segmentation import PanopticSegmentation

SCALE = 0.75
VOID_CATEGORY = -1  # id given to void, so that it is compared like a class
SALT = b"consistency"  # other images than a plan's sample, which hashes ids as well


@dataclass(frozen=True, slots=True)
class Change:
    """A way to change an image, and to bring a map of ids back."""

    apply: Callable[[UInt8[ndarray, "H W 3"]], UInt8[ndarray, "H W 3"]]
    undo: Callable[[Int32[ndarray, "H W"]], Int32[ndarray, "H W"]]


def is_sampled(image_id: str, share: float) -> bool:
    """Whether an image belongs to the chosen `share`; it also belongs to every larger one."""
    digest = hashlib.blake2b(image_id.encode(), digest_size=8, person=SALT).digest()
    return int.from_bytes(digest) < share * 2**64


def mirror(pixels: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "H W 3"]:
    """Left and right swapped."""
    return np.ascontiguousarray(pixels[:, ::-1])


def unmirror(ids: Int32[ndarray, "H W"]) -> Int32[ndarray, "H W"]:
    """Left and right swapped back."""
    return np.ascontiguousarray(ids[:, ::-1])


def shrink(pixels: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "H W 3"]:
    """The image at `SCALE` at the top left of a frame of its own size, mirrored into the rest.

    The frame keeps its size, because models resize every image to one size: a smaller file alone
    would give them the same input.
    """
    height, width = pixels.shape[:2]
    small_height, small_width = _shrunk_hw((height, width))
    small = Image.fromarray(pixels).resize((small_width, small_height), Image.Resampling.BILINEAR)
    margin = ((0, height - small_height), (0, width - small_width), (0, 0))
    return np.pad(np.asarray(small), margin, mode="symmetric")


def unshrink(ids: Int32[ndarray, "H W"]) -> Int32[ndarray, "H W"]:
    """The ids of the shrunk image, at the frame's size: each pixel takes the nearest."""
    height, width = ids.shape
    small_height, small_width = _shrunk_hw((height, width))
    rows = ((np.arange(height) + 0.5) * small_height / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * small_width / width).astype(np.int64)
    nearest: Int32[ndarray, "H W"] = ids[rows[:, None], columns]
    return nearest


CHANGES = (Change(mirror, unmirror), Change(shrink, unshrink))


def measure_consistency(
    segmentation: PanopticSegmentation, of_copies: Sequence[PanopticSegmentation]
) -> float:
    """Panoptic quality between labels and those of the changed copies, averaged; in [0, 1].

    Args:
        segmentation: of the image.
        of_copies: of the copies that `CHANGES` make of it, in order.
    """
    own = _annotation(segmentation.ids, segmentation)
    agreements = [
        agreement(own, _annotation(change.undo(copy.ids), copy))
        for change, copy in zip(CHANGES, of_copies, strict=True)
    ]
    return sum(agreements) / len(agreements)


def agreement(one: PanopticAnnotation, other: PanopticAnnotation) -> float:
    """Panoptic quality between two labellings of one image, the same whichever comes first.

    Neither is ground truth, so void is not ignored: a segment where the other has void is
    unmatched.
    Two labellings without segments agree.
    """
    counts = count_matches(_without_void(one), _without_void(other))
    quality = summarise(counts, {"all": counts.per_category.keys() - {VOID_CATEGORY}})["all"]
    return quality.pq if quality.num_classes else 1.0


def _annotation(
    ids: Int32[ndarray, "H W"], segmentation: PanopticSegmentation
) -> PanopticAnnotation:
    """Those segments that are left in `ids`."""
    present = present_ids(ids)
    categories = {s.id: s.category_id for s in segmentation.segments if s.id in present}
    return PanopticAnnotation(ids=ids, category_ids=categories)


def _without_void(labels: PanopticAnnotation) -> PanopticAnnotation:
    void = labels.ids == VOID_ID
    if not void.any():
        return labels
    void_id = max(labels.category_ids, default=0) + 1
    return PanopticAnnotation(
        ids=np.where(void, np.int32(void_id), labels.ids),
        category_ids={**labels.category_ids, void_id: VOID_CATEGORY},
    )


def _shrunk_hw(image_hw: tuple[int, int]) -> tuple[int, int]:
    height, width = image_hw
    return math.ceil(height * SCALE), math.ceil(width * SCALE)
