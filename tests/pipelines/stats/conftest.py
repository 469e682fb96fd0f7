"""Rows of small images, made by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from pipelines.corpus.image import InputImage
from pipelines.label.rows import error_row, label_row
from possam_core.images.decode import DecodedImage, ImageError, ImageErrorCode
from possam_core.labels.segmentation import PanopticSegmentation, Segment
from tests.factories import make_segment

Row = dict[str, Any]


def input_image(name: str) -> InputImage:
    return InputImage(image_id=name, uri=f"/corpus/{name}.jpg", size=None, etag=None)


@pytest.fixture
def make_row() -> Callable[..., Row]:
    """The row of an image of 100 x 200 pixels, whose segments are columns of it, as wide as asked.

    `areas` gives each segment's area in pixels, a multiple of 100; `changes` bends each one.
    """

    def make(
        name: str,
        areas: Sequence[int],
        changes: Sequence[dict[str, object]] = (),
        consistency: float | None = None,
    ) -> Row:
        ids = np.zeros((100, 200), np.int32)
        segments: list[Segment] = []
        left = 0
        for number, area in enumerate(areas, start=1):
            width = area // 100
            ids[:, left : left + width] = number
            own = changes[number - 1] if changes else {}
            box = (left, 0, width, 100)
            segments.append(make_segment(id=number, area_px=area, bbox_xywh=box, **own))
            left += width
        decoded = DecodedImage(pixels=np.zeros((100, 200, 3), np.uint8), exif_orientation=1)
        segmentation = PanopticSegmentation(ids=ids, segments=tuple(segments))
        return label_row(input_image(name), decoded, segmentation, consistency=consistency)

    return make


@pytest.fixture
def make_error() -> Callable[[str, str], Row]:
    """The row of an image that failed with a code."""
    return lambda name, code: error_row(input_image(name), ImageError(ImageErrorCode(code), "it"))
