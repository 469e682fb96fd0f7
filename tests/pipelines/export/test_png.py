import io

import numpy as np
import pytest
from PIL import Image

from pipelines.export.png import encode_grey, encode_ids


def decode(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        image.verify()  # of the checksums, too
    return np.asarray(Image.open(io.BytesIO(data)))


def test_an_id_is_red_plus_256_green_plus_65536_blue() -> None:
    ids = np.array([[0, 1], [258, 2**24 - 1]], np.uint32)
    expected = [[[0, 0, 0], [1, 0, 0]], [[2, 1, 0], [255, 255, 255]]]
    assert decode(encode_ids(ids)).tolist() == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int32])
def test_ids_of_any_type_give_the_same_file(dtype: type) -> None:
    ids = np.array([[0, 1, 2], [200, 255, 7]])
    assert encode_ids(ids.astype(dtype)) == encode_ids(ids.astype(np.uint8))


def test_grey_levels_of_8_bits_are_the_values() -> None:
    pixels = np.array([[0, 255, 3], [9, 9, 254]], np.uint8)
    found = decode(encode_grey(pixels))
    assert found.dtype == np.uint8
    assert found.tolist() == pixels.tolist()


def test_grey_levels_of_16_bits_are_the_values() -> None:
    pixels = np.array([[0, 65535, 3], [256, 255, 300]], np.uint16)
    found = decode(encode_grey(pixels))
    assert found.dtype == np.uint16
    assert found.tolist() == pixels.tolist()


def test_the_smallest_picture_has_one_pixel() -> None:
    assert decode(encode_grey(np.array([[7]], np.uint8))).tolist() == [[7]]
    assert decode(encode_ids(np.array([[7]], np.uint8))).tolist() == [[[7, 0, 0]]]
