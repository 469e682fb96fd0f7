"""Label Studio's brush strokes: the run-length encoding of `rle-pack`, over bytes of RGBA pixels.

A stream of bits, the highest of a byte first. It begins with the number of words (32 bits), the
bits of a word less one (5), and four sizes less one (4 each). Blocks follow until all words are
there: one bit that says whether one word is repeated, two that choose a size, the number of words
less one in that many bits, and the word, or all the words.

Axes: H W pixels of the image, M bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

CHANNELS = 4  # red, green, blue, alpha; where alpha is not zero, the brush has been
WORD_BITS = 8


class BrushError(ValueError):
    """These bytes are not what Label Studio writes for a picture of that size."""


def decode_brush(rle: Sequence[int], image_hw: tuple[int, int]) -> Bool[ndarray, "H W"]:
    """Where the brush has been.

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
        raise BrushError(f"its rle is no list of bytes ({error})") from error
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
            raise BrushError("its rle goes on beyond the picture")
        words[start:end] = bits.take(WORD_BITS) if is_repeated else bits.take_words(end - start)
        start = end
    return words.reshape(height, width, CHANNELS)[..., -1] > 0


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
        """The next so many bytes, wherever in a byte they begin."""
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
