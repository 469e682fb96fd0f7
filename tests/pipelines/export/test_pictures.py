import io

import numpy as np
import pytest
from PIL import Image

from pipelines.export.pictures import make_picture
from possam_core.images.decode import ImageError, decode_image
from tests.factories import encode, make_pixels

QUARTER_TURN = 6  # EXIF orientation of a camera held upright


def turned(pixels: np.ndarray, format: str) -> bytes:
    """A file that stores `pixels` lying down and says so."""
    exif = Image.Exif()
    exif[0x0112] = QUARTER_TURN
    lying = Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90)
    return encode(lying, format, exif=exif)


@pytest.mark.parametrize(
    ("format", "suffix"),
    [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif"), ("BMP", "bmp")],
)
def test_an_upright_image_keeps_its_bytes_and_is_named_by_its_content(format, suffix):
    data = encode(make_pixels(), format)
    picture = make_picture(data, 1)
    assert (picture.data, picture.suffix) == (data, suffix)


def test_a_turned_png_is_written_upright_without_loss():
    pixels = make_pixels(48, 64)
    picture = make_picture(turned(pixels, "PNG"), QUARTER_TURN)
    decoded = decode_image(picture.data)
    assert picture.suffix == "png"
    assert decoded.exif_orientation == 1
    assert (decoded.pixels == pixels).all()


def test_a_turned_jpeg_is_written_upright_as_jpeg():
    pixels = make_pixels(48, 64)
    data = turned(pixels, "JPEG")
    picture = make_picture(data, QUARTER_TURN)
    decoded = decode_image(picture.data)
    assert picture.suffix == "jpg"
    assert decoded.exif_orientation == 1
    difference = decoded.pixels.astype(int) - decode_image(data).pixels
    assert np.abs(difference).mean() < 3


def test_a_jpeg_stays_as_it_is_where_a_format_wants_jpeg():
    picture = make_picture(encode(make_pixels()), 1)
    assert picture.as_jpeg() is picture


def test_another_format_becomes_jpeg_where_one_is_wanted():
    pixels = make_pixels()
    jpeg = make_picture(encode(pixels, "PNG"), 1).as_jpeg()
    assert jpeg.suffix == "jpg"
    with Image.open(io.BytesIO(jpeg.data)) as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 3


def test_what_has_to_be_turned_but_does_not_decode_is_named():
    with pytest.raises(ImageError):
        make_picture(turned(make_pixels(), "JPEG")[:300], QUARTER_TURN)
