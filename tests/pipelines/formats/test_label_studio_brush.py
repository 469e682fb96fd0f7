"""Tests of pipelines.formats.label_studio_brush."""

import numpy as np
import pytest

from pipelines.formats.label_studio_brush import BrushError, decode_brush, encode_brush
from tests.pipelines.formats.annotators import brush_rle

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
def test_painted_masks_are_decoded(seed, alpha):
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
        (HEADER + VOID + "1" + "00" + "111" + "00000000", "is longer than the picture"),
        ("1" * 32 + HEADER[32:], "holds 4294967295 values, 2 x 1 pixels have 8"),
        (HEADER[:32] + "01111" + HEADER[37:], "words of 16 bits, expected 8"),
    ],
)
def test_a_damaged_stroke_is_named(bits, reason):
    with pytest.raises(BrushError, match=reason):
        decode_brush(as_bytes(bits), (1, 2))


@pytest.mark.parametrize("rle", [[0, 300], ["a"], [-1], None])
def test_a_value_that_is_not_a_list_of_bytes_is_named(rle):
    with pytest.raises(BrushError, match="not a list of bytes"):
        decode_brush(rle, (1, 2))


def decode_by_bits(code: list[int]) -> np.ndarray:
    """The words behind a code, bit by bit as Label Studio documents it."""
    bits = "".join(f"{byte:08b}" for byte in code)
    place = 0

    def take(number: int) -> int:
        nonlocal place
        place += number
        return int(bits[place - number : place], 2)

    num_words, word_bits = take(32), take(5) + 1
    widths = [take(4) + 1 for _ in range(4)]
    words: list[int] = []
    while len(words) < num_words:
        is_run = take(1)
        length = take(widths[take(2)]) + 1
        words += [take(word_bits)] * length if is_run else [take(word_bits) for _ in range(length)]
    assert len(bits) - place < 8
    return np.array(words, np.uint8)


def test_a_code_is_the_one_worked_out_by_hand():
    # 2 x 1 pixels, the second in the mask: 4 words of 0, then 4 of 255.
    header = f"{8:032b}" + f"{7:05b}" + f"{2:04b}{3:04b}{7:04b}{15:04b}"
    runs = "1" + "00" + "011" + "00000000" + "1" + "00" + "011" + "11111111"
    bits = (header + runs).ljust(88, "0")
    expected = [int(bits[i : i + 8], 2) for i in range(0, 88, 8)]
    assert encode_brush(np.array([[False], [True]])) == expected


def test_every_segment_is_in_all_four_channels():
    ids = np.array([[1, 1, 0, 2], [2, 1, 0, 0], [3, 3, 3, 3]])
    for segment in (1, 2, 3):
        expected = np.repeat(ids.ravel() == segment, 4) * 255
        assert decode_by_bits(encode_brush(ids == segment)).tolist() == expected.tolist()


def test_runs_of_every_length_are_decoded():
    lengths = [1, 2, 3, 4, 5, 16, 63, 64, 65, 16383, 16384, 16385, 40000]  # times 4 channels
    ids = np.repeat(np.arange(len(lengths)) % 2, lengths)[None]
    assert (decode_by_bits(encode_brush(ids == 1)) == np.repeat(ids.ravel(), 4) * 255).all()


@pytest.mark.parametrize("seed", range(4))
def test_what_is_written_is_read_back(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(tuple(rng.integers(1, 60, 2))) < rng.random()
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), mask.shape), mask)
