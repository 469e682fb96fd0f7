"""Label Studio's JSON of image segmentation, written and read.

We write tasks whose segments are pre-annotations, as brushes; we read its export of people's
annotations, which may also have polygons and rectangles.

Axes: H W pixels of the image.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import quoteattr

from jaxtyping import Bool
from numpy import ndarray

from pipelines.corpus.found_image import IMAGE_ENDINGS
from pipelines.formats.annotation import AnnotatedImage, Region, other_size, refuse
from pipelines.formats.label_studio_brush import BrushError, encode_brush
from pipelines.formats.label_studio_shapes import GEOMETRY, ShapeError, read_mask
from possam_core.errors import ConfigError
from possam_core.labels.id_colours import hex_colour

Record = dict[str, Any]

BRUSH_LABELS = "brushlabels"
LABELS = "labels"  # the end of the type of a result that has a class
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")  # which Label Studio adds to uploaded files
MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError)


def write_task(
    image: str, facts: Mapping[str, str | int], results: Sequence[Record], *, made_by: str
) -> Record:
    """The task of correcting one image.

    Args:
        image: address of the image.
        facts: further fields of the task; annotations are matched by `image_id`.
        results: pre-annotations, by `brush_result`.
        made_by: the model that made them.
    """
    data = {"image": image, **facts}
    return {"data": data, "predictions": [{"model_version": made_by, "result": [*results]}]}


def brush_result(
    mask: Bool[ndarray, "H W"], class_name: str, *, result_id: str, score: float
) -> Record:
    """One segment as a pre-annotation."""
    height, width = mask.shape
    return {
        "id": result_id,
        "type": BRUSH_LABELS,
        "from_name": "labels",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": round(score, 6),
        "value": {"format": "rle", "rle": encode_brush(mask), BRUSH_LABELS: [class_name]},
    }


def label_config(colours: Mapping[str, tuple[int, int, int]]) -> str:
    """The XML that a project needs: an image, and a brush for each class, whose RGB is given."""
    labels = "\n".join(
        f"    <Label value={quoteattr(name)} background={quoteattr(hex_colour(colour))}/>"
        for name, colour in colours.items()
    )
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="labels" toName="image">\n{labels}\n  </BrushLabels>\n</View>\n'
    )


def read_label_studio(path: Path) -> list[AnnotatedImage]:
    """The annotated images of a JSON export; unfinished tasks are left out.

    Raises:
        ConfigError: the file is missing, or is not such an export.
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
    """The image of one task with its newest annotation; None if there is none."""
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
    """The path in an address of Label Studio; that of a local file is in the query."""
    parts = urlsplit(address)
    hidden = parse_qs(parts.query).get("d")
    path = hidden[0] if hidden else unquote(parts.path)
    if "/upload/" not in path:
        return path
    folder, _, name = path.rpartition("/")
    return f"{folder}/{UPLOAD_PREFIX.sub('', name)}"


def _image_address(data: Record) -> str:
    """The address of the image, whose field may have any name in the project."""
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
        mask = read_mask(result["value"], image_hw)
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
