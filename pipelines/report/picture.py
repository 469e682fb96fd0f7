"""Images as the viewer shows them: a small photograph, and layers of labels to lay over it.

Axes: H W pixels of the image, h w pixels of the layer.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from jaxtyping import Int32, UInt8
from numpy import ndarray
from PIL import Image

from pipelines.corpus.image import InputImage
from pipelines.report.overlay import DrawnSegment, draw_overlay, segment_colour
from pipelines.report.photographs import Photographs
from pipelines.run.id_map import id_map
from pipelines.schema import LabelledRow
from possam_core.images.decode import ImageError, decode_image
from possam_core.labels.id_colours import hex_colour

DRAWN_SINCE = "2026-12"  # pictures look as they do; a later report keeps an earlier one's
SIDE_PX = 384  # the longer one
THREADS = 4
_JPEG_QUALITY = 80

Picture = dict[str, Any]  # an image as JSON for a page


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An image to draw, with one or more layers of labels."""

    place: int  # in the pages
    image: InputImage
    layers: Sequence["LabelledRow | LabelLayer | None"]  # None: without labels; one has some


class ListedSegment(DrawnSegment):
    """The fields of a segment that the list beside a picture also shows."""

    area: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLayer:
    """Labels of an image."""

    ids: Int32[ndarray, "H W"]  # of each pixel's segment
    segments: Sequence[ListedSegment]

    @classmethod
    def of(cls, row: LabelledRow) -> "LabelLayer":
        """The labels of a row.

        Raises:
            ConfigError: they are damaged.
        """
        return cls(ids=id_map(row), segments=row["segments_info"])


def draw_pictures(
    subjects: Sequence[Subject], photographs: Photographs
) -> Iterator[tuple[int, Picture]]:
    """Each subject's place and picture, in any order; read and drawn in threads."""
    by_id = {subject.image.image_id: subject for subject in subjects}
    units = photographs.units(subject.image for subject in subjects)
    with ThreadPoolExecutor(THREADS) as pool:
        for drawn in pool.map(partial(_draw_unit, photographs, by_id), units):
            yield from drawn


def draw_picture(
    pixels: UInt8[ndarray, "H W 3"] | None, layers: Sequence[LabelLayer | None]
) -> Picture:
    """A photograph, unless `pixels` is None, with layers of the same shape."""
    height, width = next(layer.ids.shape for layer in layers if layer is not None)
    return {
        "ratio": round(width / height, 4),
        "photo": None if pixels is None else _jpeg_uri(pixels),
        "layers": [_draw_layer(layer) for layer in layers],
    }


def _draw_unit(
    photographs: Photographs, subjects: Mapping[str, Subject], unit: list[InputImage]
) -> list[tuple[int, Picture]]:
    drawn = []
    for image, content in zip(unit, photographs.read(unit), strict=True):
        subject = subjects[image.image_id]
        layers = [
            layer if layer is None or isinstance(layer, LabelLayer) else LabelLayer.of(layer)
            for layer in subject.layers
        ]
        drawn.append((subject.place, draw_picture(_decode(content), layers)))
    return drawn


def _decode(content: bytes | None) -> UInt8[ndarray, "H W 3"] | None:
    if content is None:
        return None
    try:
        return decode_image(content).pixels
    except ImageError:
        return None


def _draw_layer(layer: LabelLayer | None) -> dict[str, Any]:
    if layer is None:
        return {"overlay": None, "tags": [], "segments": []}
    overlay = draw_overlay(layer.segments, layer.ids, max_side_px=SIDE_PX)
    ordered = sorted(layer.segments, key=lambda s: (not s["isthing"], -s["area"]))
    return {
        "overlay": _webp_uri(overlay.rgba),
        "tags": [
            [round(100 * tag.x, 1), round(100 * tag.y, 1), f"{tag.segment_id} {tag.name}"]
            for tag in overlay.name_tags
        ],
        "segments": [
            [
                s["id"],
                s["category_name"],
                round(s["score"], 2),
                hex_colour(segment_colour(s)),
                s["isthing"],
            ]
            for s in ordered
        ],
    }


def _jpeg_uri(pixels: UInt8[ndarray, "H W 3"]) -> str:
    photo = Image.fromarray(pixels)
    photo.thumbnail((SIDE_PX, SIDE_PX))
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return _data_uri("image/jpeg", buffer)


def _webp_uri(rgba: UInt8[ndarray, "h w 4"]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "WEBP", lossless=True, quality=20, method=1)
    return _data_uri("image/webp", buffer)


def _data_uri(media_type: str, buffer: io.BytesIO) -> str:
    return f"data:{media_type};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
