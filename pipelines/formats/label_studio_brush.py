"""Label Studio's brush strokes, written and read: the code of `rle-pack` over RGBA bytes.

A stream of bits, the highest of a byte first. It begins with the number of words (32 bits), the
bits of a word minus one (5), and four sizes minus one (4 each). Blocks follow until all words are
read: one bit for whether one word is repeated, two that choose a size, the number of words minus
one in that many bits, and the word, or all the words.

Axes: H W pixels of the image, M bytes, R runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

CHANNELS = 4  # red, green, blue, alpha; pixels with non-zero alpha are painted
WORD_BITS = 8
LENGTH_BITS = np.array([3, 4, 8, 16])  # the sizes that we write
MAX_RUN = 2**16  # words
OPAQUE = 255


class BrushError(ValueError):
    """The bytes are not a valid brush of a picture of that size."""


def encode_brush(mask: Bool[ndarray, "H W"]) -> list[int]:
    """The brush that paints `mask`: all four channels are 255 where it is true, else 0."""
    lengths, values = _runs(mask.ravel())
    width_codes = np.searchsorted(2**LENGTH_BITS, lengths)  # the first that holds length - 1
    length_bits = LENGTH_BITS[width_codes]
    num_bits = 3 + length_bits + WORD_BITS
    codes = 0b100 + width_codes
    codes = (codes << length_bits) + lengths - 1
    codes = (codes << WORD_BITS) + values * OPAQUE
    header = _bits(mask.size * CHANNELS, 32) + _bits(WORD_BITS - 1, 5)
    for bits in LENGTH_BITS.tolist():
        header += _bits(bits - 1, 4)
    firsts = len(header) + np.cumsum(num_bits) - num_bits
    stream = np.zeros(len(header) + int(num_bits.sum()), np.uint8)
    stream[: len(header)] = header
    for place in range(int(num_bits.max())):  # from the first bit of every run to the last
        has_bit = num_bits > place
        shifts = num_bits[has_bit] - 1 - place
        stream[firsts[has_bit] + place] = codes[has_bit] >> shifts & 1
    packed: list[int] = np.packbits(stream).tolist()
    return packed


def decode_brush(rle: Sequence[int], image_hw: tuple[int, int]) -> Bool[ndarray, "H W"]:
    """The painted pixels.

    Args:
        rle: bytes of the encoding.
        image_hw: size of the picture in pixels.

    Raises:
        BrushError: `rle` is damaged, or of another size.
    """
    height, width = image_hw
    num_words = height * width * CHANNELS
    try:
        data = bytes(rle)
    except (TypeError, ValueError) as error:
        raise BrushError(f"its rle is not a list of bytes ({error})") from error
    bits = _Bits(data)
    found = bits.take(32)
    if found != num_words:
        raise BrushError(
            f"its rle holds {found} values, {width} x {height} pixels have {num_words}"
        )
    if (word_bits := bits.take(5) + 1) != WORD_BITS:
        raise BrushError(f"its rle has words of {word_bits} bits, expected {WORD_BITS}")
    sizes = [bits.take(4) + 1 for _ in range(4)]
    words = np.empty(num_words, np.uint8)
    start = 0
    while start < num_words:
        is_repeated = bits.take(1)
        end = start + bits.take(sizes[bits.take(2)]) + 1
        if end > num_words:
            raise BrushError("its rle is longer than the picture")
        words[start:end] = bits.take(WORD_BITS) if is_repeated else bits.take_words(end - start)
        start = end
    return words.reshape(height, width, CHANNELS)[..., -1] > 0


def _runs(mask: ndarray) -> tuple[ndarray, ndarray]:
    """Lengths (R,), in words, and values (R,) of the runs, cut to at most MAX_RUN words."""
    starts = np.concatenate([[0], np.flatnonzero(mask[1:] != mask[:-1]) + 1])
    lengths = CHANNELS * np.diff(starts, append=mask.size)
    num_parts = -(-lengths // MAX_RUN)
    values = np.repeat(mask[starts].astype(np.int64), num_parts)
    parts = np.full(int(num_parts.sum()), MAX_RUN)
    parts[np.cumsum(num_parts) - 1] = lengths - (num_parts - 1) * MAX_RUN
    return parts, values


def _bits(number: int, width: int) -> list[int]:
    return [number >> place & 1 for place in reversed(range(width))]


@dataclass(slots=True)
class _Bits:
    """A stream of bits and how far it has been read."""

    data: bytes
    position: int = 0

    def take(self, num_bits: int) -> int:
        """The next bits as a number."""
        start, end = self._advance(num_bits)
        covering = self.data[start // 8 : -(-end // 8)]
        return int.from_bytes(covering) >> (-end % 8) & ((1 << num_bits) - 1)

    def take_words(self, number: int) -> UInt8[ndarray, " M"]:
        """The next `number` bytes, which need not begin at a byte boundary."""
        start, end = self._advance(number * WORD_BITS)
        covering = np.frombuffer(self.data[start // 8 : -(-end // 8)], np.uint8)
        shift = start % 8
        if not shift:
            return covering
        return (covering[:-1] << shift) | (covering[1:] >> (8 - shift))

    def _advance(self, num_bits: int) -> tuple[int, int]:
        start = self.position
        self.position += num_bits
        if self.position > 8 * len(self.data):
            raise BrushError("its rle ends too early")
        return start, self.position
