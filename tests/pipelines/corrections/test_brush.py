"""Tests of pipelines.corrections.brush."""

import numpy as np
import pytest

from pipelines.corrections.brush import BrushError, decode_brush
from tests.pipelines.corrections.annotators import brush_rle

HEADER = "00000000000000000000000000001000" + "00111" + "0010" + "0011" + "0111" + "1111"
# Words: 8, of 8 bits; sizes 3, 4, 8 and 16. Two pixels: one void, one painted.
VOID = "1" + "00" + "011" + "00000000"  # four zeros: repeated, the size of 3 bits, 4 - 1
PAINTED = "0" + "01" + "0011" + "00000001" + "00000010" + "00000011" + "01100100"  # four words


def as_bytes(bits: str) -> list[int]:
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def test_blocks_of_repeated_and_of_plain_words_decode_as_worked_out_by_hand():
    rle = as_bytes(HEADER + VOID + PAINTED)
    assert rle[:6] == [0, 0, 0, 8, 57, 27]  # as every export of this size begins
    assert decode_brush(rle, (1, 2)).tolist() == [[False, True]]
    assert decode_brush(rle, (2, 1)).tolist() == [[False], [True]]
    assert decode_brush(as_bytes(HEADER + PAINTED + VOID), (1, 2)).tolist() == [[True, False]]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("alpha", [1, 255])
def test_painted_masks_come_back(seed, alpha):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2).tolist()
    mask = rng.random((height, width)) < rng.random()
    mask[: height // 2, : width // 2] = True
    np.testing.assert_array_equal(decode_brush(brush_rle(mask, alpha), (height, width)), mask)


@pytest.mark.parametrize(
    ("bits", "reason"),
    [
        (HEADER + VOID, "ends too early"),
        (HEADER[:40], "ends too early"),
        (HEADER + VOID + PAINTED[:-9], "ends too early"),
        (HEADER + VOID + "1" + "00" + "111" + "00000000", "goes on beyond the picture"),
        ("1" * 32 + HEADER[32:], "holds 4294967295 values, 2 x 1 pixels have 8"),
        (HEADER[:32] + "01111" + HEADER[37:], "words of 16 bits, expected 8"),
    ],
)
def test_a_damaged_stroke_is_named(bits, reason):
    with pytest.raises(BrushError, match=reason):
        decode_brush(as_bytes(bits), (1, 2))


@pytest.mark.parametrize("rle", [[0, 300], ["a"], [-1], None])
def test_what_is_no_list_of_bytes_is_named(rle):
    with pytest.raises(BrushError, match="no list of bytes"):
        decode_brush(rle, (1, 2))
