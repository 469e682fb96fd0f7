"""The shapes of Label Studio's regions as masks: brushes, polygons and rectangles.

Axes: H W pixels of the image.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from pycocotools import mask as coco_mask

from pipelines.formats.label_studio_brush import decode_brush

GEOMETRY = {"rle", "points", "width"}  # a value has exactly one of these


class ShapeError(ValueError):
    """A region that encloses no area, or lies outside the image."""


def read_mask(value: dict[str, Any], image_hw: tuple[int, int]) -> Bool[ndarray, "H W"]:
    """The pixels inside the shape; lengths are in percent of the image's width or height.

    Raises:
        BrushError: the code of a brush is damaged.
        ShapeError: the corners do not form a shape in this image.
    """
    height, width = image_hw
    if "rle" in value:
        return decode_brush(value["rle"], image_hw)
    scale = np.array([width, height]) / 100
    if "points" in value:
        corners = np.array(value["points"], float) * scale
    else:
        corners = _rectangle(value, scale)
    if len(corners) < 3 or not (np.abs(corners) <= 2 * max(image_hw)).all():
        raise ShapeError(f"{len(corners)} corners, or some far outside the image")
    (encoded,) = coco_mask.frPyObjects([corners.ravel().tolist()], height, width)
    return np.asarray(coco_mask.decode(encoded), np.bool_)


def _rectangle(value: dict[str, Any], scale: ndarray) -> ndarray:
    """The corners, in pixels, rotated clockwise about the first one."""
    origin = np.array([value["x"], value["y"]], float) * scale
    across, down = np.array([value["width"], value["height"]], float) * scale
    angle = math.radians(value.get("rotation") or 0)
    to_right = across * np.array([math.cos(angle), math.sin(angle)])
    to_bottom = down * np.array([-math.sin(angle), math.cos(angle)])
    return np.stack([origin, origin + to_right, origin + to_right + to_bottom, origin + to_bottom])
