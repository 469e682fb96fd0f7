"""Colours as text, and segment ids as colours as COCO panoptic has them: id = R + 256 G + 65536 B;
0 is void.

Axes: H W pixels of the image.
"""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8
from numpy import ndarray
from PIL import Image

from possam_core.errors import GroundTruthError

SHIFTS = (0, 8, 16)  # of an id, to its red, green and blue
MAX_ID = 2**24 - 1  # that fits into three bytes


def rgb_from_ids(ids: Int32[ndarray, "H W"]) -> UInt8[ndarray, "H W 3"]:
    """The colour of each pixel's id."""
    return np.stack([ids >> shift & 255 for shift in SHIFTS], axis=-1).astype(np.uint8)


def hex_colour(rgb: tuple[int, int, int]) -> str:
    """A colour as HTML and XML write it.

    >>> hex_colour((255, 128, 0))
    '#ff8000'
    """
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def read_id_png(file: Path | io.BytesIO, name: str) -> Int32[ndarray, "H W"]:
    """The ids of a PNG; `name` is what an error calls it.

    Raises:
        GroundTruthError: it is no PNG, or not in colour.
    """
    try:
        with Image.open(file, formats=("PNG",)) as png:
            if png.mode not in ("RGB", "RGBA"):
                raise GroundTruthError(
                    f"expected an RGB image with ids in {name}, got mode {png.mode}"
                )
            # Four bytes a pixel are read as one number; the fourth is not the id's.
            numbers = np.asarray(png.convert("RGBA")).view("<u4")[..., 0]
            return (numbers & MAX_ID).astype(np.int32)
    except (OSError, ValueError, SyntaxError) as error:
        raise GroundTruthError(
            f"expected a PNG with segment ids in {name}, but it cannot be read"
            f" ({type(error).__name__}: {error})"
        ) from error
