"""Small JPEGs by the thousand, all different."""

import numpy as np

from tests.factories import encode

HEIGHT, WIDTH, CELL = 48, 64, 16


def make_corpus(num_images: int) -> dict[str, bytes]:
    """Name -> bytes of that many images: dark tiles, and in two of three a bright box."""
    return {f"{number:05d}.jpg": encode(_make_pixels(number)) for number in range(num_images)}


def make_plain(colour: tuple[int, int, int]) -> bytes:
    """An image of one colour."""
    return encode(np.full((HEIGHT, WIDTH, 3), colour, np.uint8))


def _make_pixels(number: int) -> np.ndarray:
    random = np.random.default_rng(number)
    tiles = random.integers(0, 128, (HEIGHT // CELL, WIDTH // CELL, 3), dtype=np.uint8)
    pixels = tiles.repeat(CELL, axis=0).repeat(CELL, axis=1)
    if number % 3:
        top, left = random.integers(0, HEIGHT // 2), random.integers(0, WIDTH // 2)
        pixels[top : top + CELL, left : left + CELL] = 250
    return pixels
