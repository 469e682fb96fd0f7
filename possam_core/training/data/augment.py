"""Views of a labelled image: large-scale jitter, flip, fixed crop; image and id map alike.

A view is drawn once, then applied to the image and to the id map by pure functions.

Axes: H W pixels of the image, S side of the square canvas.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Int32, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from possam_core.images.batch import resized_size
from possam_core.settings import Setting, require_valid


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How views are drawn. The longest side becomes the canvas times a scale between the two."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    min_scale: Annotated[float, Setting("smallest scale", gt=0, le=16)] = 0.1
    max_scale: Annotated[
        float,
        Setting("largest scale; above 1 the canvas shows a part of the image", gt=0, le=16),
    ] = 2.0
    flip: Annotated[bool, Setting("left to right, with probability one half")] = True

    def __post_init__(self) -> None:
        wrong = ""
        if self.min_scale > self.max_scale:
            wrong = (
                f"augment.min_scale must be at most max_scale {self.max_scale:g}, got"
                f" {self.min_scale:g}; 1 and 1 show each image whole"
            )
        require_valid(self, wrong, prefix="augment.")

    @property
    def is_fixed(self) -> bool:
        """Each image has one view, or two with the flipped one."""
        return self.min_scale == self.max_scale == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The image resized to `resized_hw`, from `offset_hw` on, at the top left of the canvas."""

    resized_hw: tuple[int, int]
    offset_hw: tuple[int, int]  # of the first row and column that is shown
    is_flipped: bool

    def shown_hw(self, canvas: int) -> tuple[int, int]:
        """Height and width of what is shown; the rest of the canvas is padding."""
        height, width = (
            min(side - offset, canvas)
            for side, offset in zip(self.resized_hw, self.offset_hw, strict=True)
        )
        return height, width


def draw_view(
    image_hw: tuple[int, int], canvas: int, config: AugmentConfig, rng: np.random.Generator
) -> View:
    """A view at random: its scale, its place, whether it is flipped; all uniform."""
    scale = rng.uniform(config.min_scale, config.max_scale)
    place_hw, flip = rng.random(2), rng.random()
    resized_hw = resized_size(image_hw, max(1, round(scale * canvas)))
    top, left = (
        int(place * (max(0, side - canvas) + 1))
        for place, side in zip(place_hw, resized_hw, strict=True)
    )
    return View(resized_hw=resized_hw, offset_hw=(top, left), is_flipped=config.flip and flip < 0.5)


def view_image(pixels: UInt8[ndarray, "H W 3"], view: View, canvas: int) -> UInt8[Tensor, "3 S S"]:
    """The view of an image, resized bilinearly with antialiasing, padded with zeros."""
    chw = torch.tensor(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    resized = functional.interpolate(chw, size=view.resized_hw, mode="bilinear", antialias=True)
    (top, left), (height, width) = view.offset_hw, view.shown_hw(canvas)
    shown = resized[0, :, top : top + height, left : left + width]
    result = torch.zeros((3, canvas, canvas), dtype=torch.uint8)
    result[:, :height, :width] = shown.flip(-1) if view.is_flipped else shown
    return result


def view_ids(ids: Int32[ndarray, "H W"], view: View, canvas: int) -> Int32[ndarray, "S S"]:
    """The view of an id map: each pixel has the id at its centre; the padding has 0."""
    (top, left), (height, width) = view.offset_hw, view.shown_hw(canvas)
    rows = _nearest(ids.shape[0], view.resized_hw[0])[top : top + height]
    columns = _nearest(ids.shape[1], view.resized_hw[1])[left : left + width]
    shown = ids[rows[:, None], columns]
    result = np.zeros((canvas, canvas), np.int32)
    result[:height, :width] = shown[:, ::-1] if view.is_flipped else shown
    return result


def keep_present(
    ids: Int32[ndarray, "S S"], *, num_segments: int, dropped: frozenset[int] = frozenset()
) -> tuple[Int32[ndarray, "S S"], list[int]]:
    """The map with its ids renumbered from 1, and the previous id of each.

    Args:
        ids: 0 to `num_segments`.
        num_segments: of the whole image, some of which the map may not show.
        dropped: ids that become 0.
    """
    areas = np.bincount(ids.ravel(), minlength=num_segments + 1)
    kept = [i for i in range(1, num_segments + 1) if areas[i] and i not in dropped]
    table = np.zeros(num_segments + 1, np.int32)
    table[kept] = np.arange(1, len(kept) + 1)
    return table[ids], kept


def _nearest(side: int, resized: int) -> ndarray:
    """For each pixel of a resized side, the pixel of the full one that holds its centre."""
    centres = (np.arange(resized) + 0.5) * side / resized
    return np.minimum(centres.astype(np.intp), side - 1)
