"""Draw the labels of one row as a transparent picture, with a position for each thing's name.

Axes: h w pixels of the overlay, H W pixels of the image, N segments.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Int32, UInt8
from numpy import ndarray
from scipy import ndimage

_GOLDEN_RATIO = 0.618034  # steps of it around the colour circle keep neighbouring ids apart
_FILL_ALPHA = {True: 130, False: 105}  # of things, of stuff
_WIDE_OUTLINE_FROM_PX = 400  # longest side of the overlay


class DrawnSegment(TypedDict):
    """The fields of a segment that are drawn, besides its pixels."""

    id: int
    category_id: int
    category_name: str
    isthing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NameTag:
    """The position of a thing's name."""

    segment_id: int
    name: str
    x: float  # of a pixel inside the thing, over the width, in [0, 1]
    y: float  # of the same pixel, over the height, in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Labels as a picture to lay over the image."""

    rgba: UInt8[ndarray, "h w 4"]
    name_tags: tuple[NameTag, ...]


def segment_colour(segment: DrawnSegment) -> tuple[int, int, int]:
    """RGB of a segment: one hue per class, shifted slightly between instances."""
    hue = segment["category_id"] * _GOLDEN_RATIO
    if not segment["isthing"]:
        return _rgb(hue, lightness=0.5, saturation=0.5)
    step = segment["id"] * _GOLDEN_RATIO % 1 - 0.5  # in [-0.5, 0.5)
    return _rgb(hue + 0.08 * step, lightness=0.55 + 0.25 * step, saturation=0.85)


def draw_overlay(
    segments: Sequence[DrawnSegment], ids: Int32[ndarray, "H W"], *, max_side_px: int
) -> Overlay:
    """Tint every segment, outline every thing, and name the things.

    A large image is reduced to `max_side_px`; a small one is enlarged by the largest whole factor
    that fits, so that outlines stay thin.

    Args:
        segments: the segments to draw.
        ids: the segment id of each pixel; pixels of no segment stay transparent.
        max_side_px: the longest side of the overlay.
    """
    overlay_hw = _overlay_hw((ids.shape[0], ids.shape[1]), max_side_px)
    index = _segment_index(segments, ids, overlay_hw)
    fills = np.zeros((len(segments) + 1, 4), np.uint8)
    lines = np.zeros((len(segments) + 1, 4), np.uint8)
    for row, segment in enumerate(segments, start=1):
        colour = segment_colour(segment)
        fills[row] = (*colour, _FILL_ALPHA[bool(segment["isthing"])])
        lines[row] = (*(min(255, 90 + channel) for channel in colour), 255)
    is_thing = np.array([False, *(bool(s["isthing"]) for s in segments)])
    is_line = _borders(index, thick=max(overlay_hw) >= _WIDE_OUTLINE_FROM_PX) & is_thing[index]
    rgba = np.where(is_line[..., None], lines[index], fills[index])
    return Overlay(rgba=rgba, name_tags=_name_tags(segments, index))


def _overlay_hw(image_hw: tuple[int, int], max_side_px: int) -> tuple[int, int]:
    scale = max_side_px / max(image_hw)
    if scale >= 1:
        scale = int(scale)
    return max(1, round(image_hw[0] * scale)), max(1, round(image_hw[1] * scale))


def _segment_index(
    segments: Sequence[DrawnSegment], ids: Int32[ndarray, "H W"], overlay_hw: tuple[int, int]
) -> Int32[ndarray, "h w"]:
    """Position of each pixel's segment, counted from 1; 0 is void."""
    rows, columns = (
        ((np.arange(side) + 0.5) * full / side).astype(np.intp)
        for side, full in zip(overlay_hw, ids.shape, strict=True)
    )
    found, places = np.unique(ids[rows[:, None], columns], return_inverse=True)
    positions = {segment["id"]: i for i, segment in enumerate(segments, start=1)}
    index = np.array([positions.get(segment_id, 0) for segment_id in found.tolist()], np.int32)
    return index[places.reshape(overlay_hw)]


def _borders(index: Int32[ndarray, "h w"], *, thick: bool) -> Bool[ndarray, "h w"]:
    """Pixels beside another segment, and where `thick` their neighbours too."""
    reach = 5 if thick else 3
    is_border: Bool[ndarray, "h w"] = ndimage.maximum_filter(
        index, reach
    ) != ndimage.minimum_filter(index, reach)
    return is_border


def _name_tags(
    segments: Sequence[DrawnSegment], index: Int32[ndarray, "h w"]
) -> tuple[NameTag, ...]:
    """One tag a thing, at its pixel nearest to its centroid; a thing too small to see has none."""
    tags = []
    for position, segment in enumerate(segments, start=1):
        ys, xs = np.nonzero(index == position)
        if not segment["isthing"] or not ys.size:
            continue
        nearest = int(np.argmin((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2))
        tags.append(
            NameTag(
                segment_id=segment["id"],
                name=segment["category_name"],
                x=float((xs[nearest] + 0.5) / index.shape[1]),
                y=float((ys[nearest] + 0.5) / index.shape[0]),
            )
        )
    return tuple(tags)


def _rgb(hue: float, *, lightness: float, saturation: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hls_to_rgb(hue % 1, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)
