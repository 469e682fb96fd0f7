"""Tests of possam_core.labels.id_colours."""

import io

import numpy as np
import pytest
from PIL import Image

from possam_core.errors import GroundTruthError
from possam_core.labels.id_colours import (
    MAX_ID,
    hex_colour,
    read_id_png,
    rgb_from_ids,
)

IDS = np.array([[1, 256 + 2, 65536 * 3 + 256 * 4 + 5], [0, 70_000, MAX_ID]], np.int32)


def test_the_low_byte_of_an_id_is_its_red() -> None:
    assert rgb_from_ids(IDS[:1]).tolist() == [[[1, 0, 0], [2, 1, 0], [5, 4, 3]]]


@pytest.mark.parametrize("opacity", [None, 0, 200])
def test_every_id_comes_back_from_a_png_with_or_without_opacity(opacity: int | None) -> None:
    png, image = io.BytesIO(), Image.fromarray(rgb_from_ids(IDS))
    if opacity is not None:
        image.putalpha(opacity)
    image.save(png, "PNG")
    assert read_id_png(png, "a.png").tolist() == IDS.tolist()


@pytest.mark.parametrize(
    ("mode", "expected"), [("L", "RGB image with ids in a.png"), (None, "a PNG")]
)
def test_what_holds_no_ids_is_refused_by_name(mode: str | None, expected: str) -> None:
    file = io.BytesIO(b"noise")
    if mode:
        Image.new(mode, (2, 2)).save(file, "PNG")
    with pytest.raises(GroundTruthError, match=expected):
        read_id_png(file, "a.png")


def test_a_colour_is_written_with_two_digits_for_each_channel() -> None:
    assert hex_colour((255, 128, 0)) == "#ff8000"
