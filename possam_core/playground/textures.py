"""Procedural textures: tone fields in [0, 1] that colour ramps turn into surfaces.

Axes: H W pixels of one region.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt32
from numpy import ndarray
from numpy.random import Generator
from PIL import Image

from possam_core.playground.style import Composition


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """The pixels to cover; coordinates are in units of the image's long side."""

    x: Float32[ndarray, "H W"]
    y: Float32[ndarray, "H W"]
    pixel: float  # side of one pixel in the same units
    rng: Generator


Tone = Callable[[Surface], Float32[ndarray, "H W"]]
Ramp = tuple[tuple[float, tuple[int, int, int]], ...]  # (tone, rgb in 0..255), rising

TAU = 2.0 * np.pi


def pack_rgb(rgb: Float32[ndarray, "N 3"]) -> UInt32[ndarray, " N"]:
    """Colours in [0, 255] as one opaque 32-bit pixel each: bytes R, G, B, 255."""
    pixels = np.full((len(rgb), 4), 255, np.uint8)
    with np.errstate(invalid="ignore"):  # the vectorised cast can raise this flag without cause
        pixels[:, :3] = np.clip(rgb, 0.0, 255.0)
    return pixels.view(np.uint32)[:, 0]


def colour_tone(
    tone: Float32[ndarray, "H W"], ramp: Ramp, composition: Composition, rng: Generator
) -> UInt32[ndarray, "H W"]:
    """Packed pixels of `tone` on `ramp`, whose colours are shifted a little as a whole."""
    steps = np.linspace(0.0, 1.0, 256)
    at = [position for position, _ in ramp]
    shift = rng.uniform(*composition.texture_gain) * rng.uniform(*composition.texture_tint, 3)
    channels = [np.interp(steps, at, [rgb[c] * shift[c] for _, rgb in ramp]) for c in range(3)]
    table = pack_rgb(np.stack(channels, axis=1).astype(np.float32))
    pixels: UInt32[ndarray, "H W"] = table[(np.clip(tone, 0.0, 1.0) * 255.0).astype(np.uint8)]
    return pixels


def draw_texture(
    tone: Tone,
    ramps: tuple[Ramp, ...],
    hw: tuple[int, int],
    composition: Composition,
    rng: Generator,
    *,
    long_side_px: int | None = None,
) -> UInt32[ndarray, "H W"]:
    """Packed pixels of one texture, a little tilted, in one of its ramps.

    Args:
        long_side_px: of the whole image, which sets the scale; None if this is the whole.
    """
    pixel = np.float32(1.0 / (long_side_px or max(hw)))
    tilt = composition.texture_tilt
    turn = np.float32(rng.uniform(-tilt, tilt))
    x = np.arange(hw[1], dtype=np.float32)[None, :] * pixel
    y = np.arange(hw[0], dtype=np.float32)[:, None] * pixel
    surface = Surface(x=x + turn * y + 1, y=y - turn * x + 1, pixel=float(pixel), rng=rng)
    return colour_tone(tone(surface), ramps[rng.integers(len(ramps))], composition, rng)


def smooth_noise(surface: Surface, cell_x: float, cell_y: float) -> Float32[ndarray, "H W"]:
    """Random field in about [0, 1] that varies over `cell_x` by `cell_y` of the long side."""
    height, width = surface.x.shape
    rows = int(height * surface.pixel / cell_y) + 2
    columns = int(width * surface.pixel / cell_x) + 2
    grid = Image.fromarray(surface.rng.random((rows, columns), np.float32))
    return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))


def ramp_up(values: Float32[ndarray, "H W"], low: float, high: float) -> Float32[ndarray, "H W"]:
    """0 below `low`, 1 above `high`, straight between."""
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def grain(surface: Surface, amount: float) -> Float32[ndarray, "H W"]:
    """Noise of each pixel on its own, `amount` from end to end around 0."""
    return (surface.rng.random(surface.x.shape, np.float32) - 0.5) * amount


def sky(s: Surface) -> Float32[ndarray, "H W"]:
    """Blue that pales downwards, with soft clouds."""
    depth = s.y - s.y.min()
    puffs = 0.65 * smooth_noise(s, 0.22, 0.11) + 0.35 * smooth_noise(s, 0.07, 0.04)
    tone: Float32[ndarray, "H W"] = 0.15 + 0.4 * depth + 0.6 * ramp_up(puffs, 0.5, 0.75)
    return tone


def sea(s: Surface) -> Float32[ndarray, "H W"]:
    """Rolling level waves with bright crests."""
    count = s.rng.uniform(11.0, 15.0)
    swell = np.sin(TAU * 3.0 * s.x + s.rng.uniform(0.0, TAU)) * 0.2
    wave = np.sin(TAU * (s.y * count + swell + smooth_noise(s, 0.12, 0.12) * 1.1))
    return 0.35 + 0.27 * wave + 0.5 * ramp_up(wave, 0.72, 1.0)


def grass(s: Surface) -> Float32[ndarray, "H W"]:
    """Upright blades, light on dark."""
    blades = smooth_noise(s, 0.016, 0.07)
    return 1.9 * (blades - 0.5) + 0.35 + 0.3 * smooth_noise(s, 0.2, 0.2)


def sand(s: Surface) -> Float32[ndarray, "H W"]:
    """Fine grain on shallow slanting dunes."""
    slope = s.x * 0.5 + s.y + smooth_noise(s, 0.3, 0.3) * 0.25
    dune = np.sin(TAU * slope * s.rng.uniform(3.5, 5.5))
    tone: Float32[ndarray, "H W"] = 0.5 + 0.16 * dune + grain(s, 0.45)
    return tone


def brick_wall(s: Surface) -> Float32[ndarray, "H W"]:
    """Staggered courses in light mortar."""
    course = s.rng.uniform(0.055, 0.075)
    row = s.y / course
    row_index = np.floor(row)
    column = s.x / (course * 2.1) + 0.5 * (row_index % 2.0)
    column_index = np.floor(column)
    shades = s.rng.random(64, np.float32) * 0.5
    tone = shades[(row_index * 13.0 + column_index * 5.0).astype(np.int32) % 64]
    across, along = row - row_index, column - column_index
    is_mortar = (across < 0.17) | (along < 0.085)
    return np.where(is_mortar, np.float32(1.0), tone + 0.1 + grain(s, 0.12))


def wooden_floor(s: Surface) -> Float32[ndarray, "H W"]:
    """Long boards with grain along them and dark joints."""
    board = s.rng.uniform(0.085, 0.12)
    row = s.y / board
    row_index = np.floor(row)
    column = s.x / (board * 5.5) + 0.37 * row_index
    shades = s.rng.random(32, np.float32) * 0.4
    joint = (row - row_index < 0.09) | (column - np.floor(column) < 0.02)
    lot = (row_index * 7.0 + np.floor(column) * 3.0).astype(np.int32) % 32
    tone = 0.3 + shades[lot] + 0.45 * (smooth_noise(s, 0.25, 0.014) - 0.5)
    return np.where(joint, np.float32(0.0), tone)


def snow(s: Surface) -> Float32[ndarray, "H W"]:
    """Nearly white drifts with bluish hollows."""
    drifts = 0.7 * smooth_noise(s, 0.28, 0.14) + 0.3 * smooth_noise(s, 0.09, 0.06)
    tone: Float32[ndarray, "H W"] = 0.35 + 0.8 * drifts + grain(s, 0.12)
    return tone


def gravel(s: Surface) -> Float32[ndarray, "H W"]:
    """Pebbles of many shades with dark gaps: the cells of a jittered grid."""
    pebble = s.rng.uniform(0.03, 0.042)
    x, y = s.x[::2, ::2] / pebble + 50.0, s.y[::2, ::2] / pebble + 50.0
    cell_x, cell_y = np.floor(x), np.floor(y)
    jitter = s.rng.random((2, 256), np.float32)
    nearest = np.full(x.shape, 9.0, np.float32)
    second = nearest.copy()
    owner = np.zeros(x.shape, np.int32)
    for dx in (-1.0, 0.0, 1.0):
        for dy in (-1.0, 0.0, 1.0):
            lot = ((cell_x + dx) * 7.0 + (cell_y + dy) * 37.0).astype(np.int32) % 256
            to_x = cell_x + (dx + 0.15) + 0.7 * jitter[0][lot] - x
            to_y = cell_y + (dy + 0.15) + 0.7 * jitter[1][lot] - y
            distance = to_x * to_x + to_y * to_y
            closer = distance < nearest
            second = np.minimum(second, np.maximum(distance, nearest))
            nearest = np.where(closer, distance, nearest)
            owner = np.where(closer, lot, owner)
    shades = 0.35 + 0.65 * s.rng.random(256, np.float32)
    gap = ramp_up(np.sqrt(second) - np.sqrt(nearest), 0.02, 0.3)
    height, width = s.x.shape
    small = Image.fromarray((shades[owner] * gap).astype(np.float32))
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def tiled_floor(s: Surface) -> Float32[ndarray, "H W"]:
    """Large square tiles of two shades with thin joints."""
    tile, turn = s.rng.uniform(0.1, 0.14), s.rng.choice([0.0, 0.785])
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    a, b = (s.x * cos + s.y * sin) / tile, (s.y * cos - s.x * sin) / tile
    in_a, in_b = a - np.floor(a), b - np.floor(b)
    is_dark = (np.floor(a) + np.floor(b)) % 2.0 < 1.0
    tone = np.where(is_dark, np.float32(0.2), np.float32(0.75)) + 0.1 * (in_a - in_b)
    return np.where((in_a < 0.07) | (in_b < 0.07), np.float32(1.0), tone)


def curtain(s: Surface) -> Float32[ndarray, "H W"]:
    """Cloth in smooth upright folds."""
    count = s.rng.uniform(7.0, 11.0)
    sway = smooth_noise(s, 0.3, 0.6) * 0.8
    fold = np.sin(TAU * (s.x * count + sway))
    return 0.5 + 0.42 * fold + 0.08 * np.sin(TAU * (s.x * count * 2.3 + sway))


def wheat_field(s: Surface) -> Float32[ndarray, "H W"]:
    """Rows of golden ears: chevrons on upright stalks."""
    stalk, grain = s.rng.uniform(0.055, 0.07), s.rng.uniform(0.035, 0.045)
    along = s.x / stalk
    side = np.abs(along - np.floor(along) - 0.5) * 2.0  # 0 on a stalk, 1 between two
    column_shift = np.floor(along) * 0.37
    kernel = np.sin(TAU * (s.y / grain - side * 0.9 + column_shift))
    return 0.78 - 0.55 * side**2 + 0.25 * kernel + 0.3 * (smooth_noise(s, 0.15, 0.15) - 0.5)


def night_sky(s: Surface) -> Float32[ndarray, "H W"]:
    """Darkness with a faint glow and bright stars."""
    tone = 0.02 + 0.3 * ramp_up(smooth_noise(s, 0.3, 0.2), 0.4, 0.9)
    height, width = tone.shape
    size = max(1, round(0.009 / s.pixel))
    count = int(height * width * s.pixel**2 * s.rng.uniform(140.0, 220.0)) + 3
    tops, lefts = s.rng.integers(0, height, count), s.rng.integers(0, width, count)
    for top, left in zip(tops, lefts, strict=True):
        tone[top : top + size, left : left + size] = 1.0
    return tone
