"""PNG of label maps, encoded directly from their runs several times as fast as by Pillow.

Every row is stored as its difference from the row above, which is non-zero only where the value
changes down a column, and deflate only looks for runs. The files are half as large as those of a
general encoder.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from possam_core.labels.id_colours import SHIFTS
from possam_core.labels.pixel_runs import Changes, PixelRuns

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR = 0, 2  # colour types
UP = 2  # the filter that stores the difference from the row above
MEMORY_LEVEL = 5  # of zlib: short blocks cost less time here, and fewer bytes


def encode_grey(
    runs: PixelRuns, levels: Sequence[int], *, void: int, bit_depth: Literal[8, 16]
) -> bytes:
    """The PNG whose grey level is the level of each pixel's segment, and `void` elsewhere."""
    changes = runs.changes(levels, void=void)
    shifts = range(bit_depth - 8, -1, -8)  # the high byte first
    return _encode(changes, runs.image_hw, shifts, bit_depth=bit_depth, colour_type=GREY)


def encode_ids(runs: PixelRuns, ids: Sequence[int]) -> bytes:
    """The PNG of segment ids in COCO panoptic format."""
    changes = runs.changes(ids, void=0)
    return _encode(changes, runs.image_hw, SHIFTS, bit_depth=8, colour_type=COLOUR)


def _encode(
    changes: Changes,
    image_hw: tuple[int, int],
    shifts: Sequence[int],
    *,
    bit_depth: int,
    colour_type: int,
) -> bytes:
    """The file; a sample of a pixel is the byte of its value that starts at one of `shifts`."""
    height, width = image_hw
    row_bytes = 1 + width * len(shifts)
    data = np.zeros(height * row_bytes, np.uint8)
    data[::row_bytes] = UP
    places = changes.rows * row_bytes + 1 + changes.columns * len(shifts)
    for i, shift in enumerate(shifts):
        data[1 + i : row_bytes : len(shifts)] = changes.top >> shift & 255
        # In bytes, so that a difference below zero wraps as the filter wants it.
        after, before = (
            (values >> shift).astype(np.uint8) for values in (changes.after, changes.before)
        )
        data[places + i] = after - before
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, MEMORY_LEVEL, zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    content = deflate.compress(data.data) + deflate.flush()
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
