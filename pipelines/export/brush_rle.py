"""Label Studio's run-length code of a brush mask: a string of bits, given as a list of bytes.

The mask is taken as an RGBA picture whose four channels are all 0 or 255. The code starts with
32 bits of length, 5 of word size and 4 times 4 of the widths that a run length may have; each run
then has a bit 1, two bits for the width of its length, the length less one, and its value.

Axes: H W pixels of the image, R runs.
"""

import numpy as np
from numpy import ndarray

CHANNELS = 4
WORD_BITS = 8
LENGTH_BITS = np.array([3, 4, 8, 16])
MAX_RUN = 2**16
OPAQUE = 255


def brush_rle(ids: ndarray, segment_id: int) -> list[int]:
    """The code of one segment of a map (H, W)."""
    lengths, values = _runs((ids == segment_id).ravel())
    width_codes = np.searchsorted(2**LENGTH_BITS, lengths)  # the first that holds length - 1
    length_bits = LENGTH_BITS[width_codes]
    num_bits = 3 + length_bits + WORD_BITS
    codes = 0b100 + width_codes
    codes = (codes << length_bits) + lengths - 1
    codes = (codes << WORD_BITS) + values * OPAQUE
    header = _bits(ids.size * CHANNELS, 32) + _bits(WORD_BITS - 1, 5)
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


def _runs(mask: ndarray) -> tuple[ndarray, ndarray]:
    """Lengths (R,), in words, and values (R,) of the runs; none is longer than a code can say."""
    starts = np.concatenate([[0], np.flatnonzero(mask[1:] != mask[:-1]) + 1])
    lengths = CHANNELS * np.diff(starts, append=mask.size)
    num_parts = -(-lengths // MAX_RUN)
    values = np.repeat(mask[starts].astype(np.int64), num_parts)
    parts = np.full(int(num_parts.sum()), MAX_RUN)
    parts[np.cumsum(num_parts) - 1] = lengths - (num_parts - 1) * MAX_RUN
    return parts, values


def _bits(number: int, width: int) -> list[int]:
    return [number >> place & 1 for place in reversed(range(width))]
