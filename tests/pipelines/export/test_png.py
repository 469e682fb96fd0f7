import io

import numpy as np
import pytest
from PIL import Image

from pipelines.export.png import encode_grey, encode_ids
from possam_core.labels.rle import decode_runs, rle_counts
from tests.possam_core.labels.test_rle import runs_of, wavy_map

MAP = np.array([[1, 1, 0], [2, 0, 2]], np.int32)


def decode(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        image.verify()  # of the checksums, too
    return np.asarray(Image.open(io.BytesIO(data)))


def test_an_id_is_red_plus_256_green_plus_65536_blue() -> None:
    first, second, void = [2, 1, 0], [255, 255, 255], [0, 0, 0]
    expected = [[first, first, void], [second, void, second]]
    assert decode(encode_ids(runs_of(MAP), [258, 2**24 - 1])).tolist() == expected


@pytest.mark.parametrize("bit_depth", [8, 16])
def test_grey_levels_are_the_values(bit_depth: int) -> None:
    most = 2**bit_depth - 1
    found = decode(encode_grey(runs_of(MAP), [most, 3], void=most - 1, bit_depth=bit_depth))
    assert found.dtype == f"uint{bit_depth}"
    assert found.tolist() == [[most, most, most - 1], [3, most - 1, 3]]


def test_grey_levels_of_16_bits_use_both_bytes() -> None:
    found = decode(encode_grey(runs_of(MAP), [256, 300], void=255, bit_depth=16))
    assert found.tolist() == [[256, 256, 255], [300, 255, 300]]


def test_a_map_with_long_and_many_runs_is_the_one_that_is_painted() -> None:
    ids = wavy_map(143, 227)
    counts = rle_counts(ids)
    runs = decode_runs(list(counts.values()), ids.shape)
    values = [71 * i for i in counts]  # up to three bytes
    assert (decode(encode_ids(runs, values)) @ [1, 256, 65536] == 71 * ids).all()
    levels = [i % 256 for i in counts]
    painted = runs.paint(levels, void=9)
    assert (decode(encode_grey(runs, levels, void=9, bit_depth=8)) == painted).all()


def test_the_smallest_picture_has_one_pixel() -> None:
    runs = runs_of(np.array([[1]], np.int32))
    assert decode(encode_grey(runs, [7], void=0, bit_depth=8)).tolist() == [[7]]
    assert decode(encode_ids(runs, [7])).tolist() == [[[7, 0, 0]]]


def test_a_picture_without_segments_is_all_void() -> None:
    runs = decode_runs([], (2, 3))
    assert decode(encode_grey(runs, [], void=255, bit_depth=8)).tolist() == [[255] * 3] * 2
    assert not decode(encode_ids(runs, [])).any()
