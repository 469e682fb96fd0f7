"""Label Studio's JSON export of image segmentation: brushes, polygons and rectangles.

Axes: H W pixels of the image.
"""

import json
import math
import re
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from pycocotools import mask as coco_mask

from pipelines.corpus.found_image import IMAGE_ENDINGS
from pipelines.corrections.annotation import AnnotatedImage, Region, other_size, refuse
from pipelines.corrections.brush import BrushError, decode_brush
from possam_core.errors import ConfigError

Record = dict[str, Any]

LABELS = "labels"  # what the type of a result ends with if it names a class
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")  # that Label Studio gives to uploaded files
GEOMETRY = {"rle", "points", "width"}
MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError)


class ShapeError(ValueError):
    """A region that encloses nothing, or not in this image."""


def read_label_studio(path: Path) -> list[AnnotatedImage]:
    """The annotated images of a JSON export; tasks that nobody has finished are left out.

    Raises:
        ConfigError: the file is missing or no such export.
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
        annotated = [_annotated(task) for task in tasks]
    except OSError as error:
        raise ConfigError(
            f"expected Label Studio's JSON export at {path}, but it could not be read"
            f" ({error.strerror}); check the path"
        ) from error
    except MALFORMED as error:
        raise ConfigError(
            f"expected Label Studio's JSON export (the format called JSON) in {path}, but it lacks"
            f" something ({type(error).__name__}: {error}); export it again"
        ) from error
    return [image for image in annotated if image is not None]


def _annotated(task: Record) -> AnnotatedImage | None:
    """The image of one task, as its newest annotation has it; None if there is none."""
    finished = [a for a in task["annotations"] if not a.get("was_cancelled")]
    if not finished:
        return None
    newest = max(finished, key=lambda a: str(a.get("updated_at") or a.get("created_at") or ""))
    data = task["data"]
    image_id = data.get("image_id")
    name = _file_name(_image_address(data))
    return AnnotatedImage(
        name=name,
        image_id=None if image_id is None else str(image_id),
        read_regions=partial(_read_regions, name, newest["result"]),
    )


def _file_name(address: str) -> str:
    """The path in an address as Label Studio writes it; local files hide theirs in a query."""
    parts = urlsplit(address)
    hidden = parse_qs(parts.query).get("d")
    path = hidden[0] if hidden else unquote(parts.path)
    if "/upload/" not in path:
        return path
    folder, _, name = path.rpartition("/")
    return f"{folder}/{UPLOAD_PREFIX.sub('', name)}"


def _image_address(data: Record) -> str:
    """Where the image is; the field has the name that the project gave it."""
    if "image" in data:
        return str(data["image"])
    texts = (text for text in data.values() if isinstance(text, str))
    for text in texts:
        if _file_name(text).lower().endswith(IMAGE_ENDINGS):
            return text
    raise KeyError("image")


def _read_regions(name: str, results: list[Record], image_hw: tuple[int, int]) -> list[Region]:
    regions = []
    named = {r.get("id") for r in results if str(r.get("type")).endswith(LABELS)}
    for result in results:
        if str(result.get("type")).endswith(LABELS):
            regions.append(_region(name, result, image_hw))
        elif GEOMETRY & set(result.get("value", ())) and result.get("id") not in named:
            raise refuse(name, "a region has no class", "label it or delete it")
    return regions


def _region(name: str, result: Record, image_hw: tuple[int, int]) -> Region:
    labels = result["value"].get(result["type"], [])
    if len(labels) != 1:
        found = ", ".join(labels) or "none"
        raise refuse(name, f"a region has the classes {found}", "give it exactly one")
    try:
        found_hw = (result["original_height"], result["original_width"])
        if found_hw != image_hw:
            raise other_size(name, found_hw, image_hw)
        if result.get("image_rotation"):
            raise ShapeError("it was drawn on the turned image")
        mask = _mask(result["value"], image_hw)
    except ConfigError:
        raise
    except (BrushError, ShapeError, *MALFORMED) as error:
        is_ours = isinstance(error, (BrushError, ShapeError))
        reason = str(error) if is_ours else f"{type(error).__name__}: {error}"
        raise refuse(
            name,
            f"a region of {labels[0]!r} cannot be read ({reason})",
            "draw brushes, polygons or rectangles on the upright image and export again",
        ) from error
    return Region(category_name=labels[0], is_crowd=False, mask=mask)


def _mask(value: Record, image_hw: tuple[int, int]) -> Bool[ndarray, "H W"]:
    """The pixels inside; lengths are percent of the image's width or height."""
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


def _rectangle(value: Record, scale: ndarray) -> ndarray:
    """The corners, in pixels; it is turned clockwise about its first one."""
    origin = np.array([value["x"], value["y"]], float) * scale
    across, down = np.array([value["width"], value["height"]], float) * scale
    angle = math.radians(value.get("rotation") or 0)
    to_right = across * np.array([math.cos(angle), math.sin(angle)])
    to_bottom = down * np.array([-math.sin(angle), math.cos(angle)])
    return np.stack([origin, origin + to_right, origin + to_right + to_bottom, origin + to_bottom])
