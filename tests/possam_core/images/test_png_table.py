"""Every kind of PNG, with and without a transparent colour, against the PNG specification.

The files are written here, byte by byte; what they must look like is computed from their samples.
"""

import struct
import zlib

import numpy as np
import pytest
from numpy import ndarray

from possam_core.images.decode import decode_image

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGB_ALPHA: (8, 16),
}
# The specification forbids a transparent colour beside an alpha channel.
CASES = [
    (kind, depth, has_transparent)
    for kind, depths in DEPTHS.items()
    for depth in depths
    for has_transparent in ((False,) if kind in (GREY_ALPHA, RGB_ALPHA) else (False, True))
]
# Chunks that say how colours were measured or shown elsewhere; the samples stay what they are.
CHUNKS = {"none": b"", "gAMA": struct.pack(">I", 45455), "tEXt": b"Title\0a", "pHYs": bytes(9)}
SIDE = 16


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def packed(samples: ndarray, depth: int) -> bytes:
    """The rows (H, W * C) of samples, each after the byte for "no filter"."""
    rows = []
    for row in samples.tolist():
        bits = "".join(format(sample, f"0{depth}b") for sample in row)
        bits += "0" * (-len(bits) % 8)
        rows.append(b"\0" + int(bits, 2).to_bytes(len(bits) // 8))
    return b"".join(rows)


def png(kind: int, depth: int, samples: ndarray, *, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, kind, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(packed(samples, depth)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + body + chunk(b"IEND", b"")


def samples_of(kind: int, depth: int, seed: int) -> ndarray:
    """Pixels (H, W, C) of few colours; of 16 bits, some that differ in their low bytes alone."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 2**depth, (4, CHANNELS[kind]))
    if depth == 16:
        colours[1] = colours[0] ^ 1
    return colours[rng.integers(0, 4, (SIDE, SIDE))]


def of_8_bits(samples: ndarray, depth: int) -> ndarray:
    return samples >> 8 if depth == 16 else samples * (255 // (2**depth - 1))


def over_white(rgb: ndarray, alpha: ndarray) -> ndarray:
    return 255 - (255 - rgb) * alpha[..., None] / 255


@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize(("kind", "depth", "has_transparent"), CASES)
def test_pixels_are_what_the_specification_says(
    kind: int, depth: int, name: str, has_transparent: bool
) -> None:
    for seed in range(3):
        samples = samples_of(kind, depth, seed)
        alpha, extra = np.full((SIDE, SIDE), 255), b""
        if name != "none":
            extra = chunk(name.encode(), CHUNKS[name])
        if kind == PALETTE:
            palette = np.random.default_rng(seed).integers(0, 256, (2**depth, 3))
            rgb = palette[samples[..., 0]]
            extra += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
            if has_transparent:  # entries that it leaves out are opaque
                alphas = np.full(2**depth, 255)
                alphas[:2] = (0, 128)
                alpha = alphas[samples[..., 0]]
                extra += chunk(b"tRNS", bytes((0, 128)))
        elif kind in (GREY, RGB):
            rgb = np.broadcast_to(of_8_bits(samples, depth), (SIDE, SIDE, 3))
            if has_transparent:
                colour = samples[0, 0]
                alpha = np.where((samples == colour).all(axis=-1), 0, 255)
                extra += chunk(b"tRNS", struct.pack(f">{len(colour)}H", *colour.tolist()))
        else:
            all_8 = of_8_bits(samples, depth)
            alpha = all_8[..., -1]
            rgb = np.broadcast_to(all_8[..., :-1], (SIDE, SIDE, 3))
        data = png(kind, depth, samples.reshape(SIDE, -1), extra=extra)
        found = decode_image(data).pixels.astype(int)
        np.testing.assert_allclose(found, over_white(rgb, alpha), atol=1, rtol=0)
