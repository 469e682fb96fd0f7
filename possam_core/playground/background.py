"""The stuff of a scene: textures in regions, laid out by the world's style.

Axes: H W pixels of the scene.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt32
from numpy import ndarray
from numpy.random import Generator

from possam_core.playground.designs import StuffClass
from possam_core.playground.style import Composition
from possam_core.playground.textures import draw_texture

LEAST_REGION = 0.04  # of the image
LEVEL_SHARE = 0.65  # of borders between rooms


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """Regions of stuff that cover an image."""

    pixels: UInt32[ndarray, "H W"]  # packed
    stuff_map: Int32[ndarray, "H W"]  # position in the stuff it was drawn from


def draw_background(
    stuff: Sequence[StuffClass],
    image_hw: tuple[int, int],
    composition: Composition,
    rng: Generator,
) -> Background:
    """Regions of different stuff, as many as the style asks for, or fewer if one would be tiny."""
    low, high = composition.num_regions
    count = min(int(rng.integers(low, high + 1)), len(stuff))
    chosen = rng.choice(len(stuff), count, replace=False)
    draw = _draw_waves if composition.layout == "waves" else _draw_rooms
    return draw([(int(i), stuff[i]) for i in chosen], image_hw, composition, rng)


def _draw_waves(
    chosen: Sequence[tuple[int, StuffClass]],
    image_hw: tuple[int, int],
    composition: Composition,
    rng: Generator,
) -> Background:
    """Half planes in any direction with wavy borders, one upon the other."""
    x, y = _axes(image_hw)
    position, design = chosen[0]
    pixels = draw_texture(design.tone, design.ramps, image_hw, composition, rng)
    stuff_map = np.full(image_hw, position, np.int32)
    for position, design in chosen[1:]:
        cos, sin = (np.float32(f(rng.uniform(0, 2 * np.pi))) for f in (np.cos, np.sin))
        wave, phase = np.float32(rng.uniform(4.0, 12.0)), np.float32(rng.uniform(0, 2 * np.pi))
        sway = np.float32(rng.uniform(0.02, 0.07)) * np.sin(wave * (x * sin - y * cos) + phase)
        beyond = x * cos + y * sin + sway > np.float32(rng.uniform(-0.05, 0.3))
        if _leaves_tiny_region(stuff_map, beyond):
            continue
        texture = draw_texture(design.tone, design.ramps, image_hw, composition, rng)
        np.copyto(pixels, texture, where=beyond)
        np.copyto(stuff_map, np.int32(position), where=beyond)
    return Background(pixels=pixels, stuff_map=stuff_map)


def _draw_rooms(
    chosen: Sequence[tuple[int, StuffClass]],
    image_hw: tuple[int, int],
    composition: Composition,
    rng: Generator,
) -> Background:
    """The largest room is split by a nearly level or upright line until there are enough."""
    x, y = _axes(image_hw)
    stuff_map = np.full(image_hw, chosen[0][0], np.int32)
    rooms = {chosen[0][0]: np.ones(image_hw, np.bool_)}
    for position, _ in chosen[1:]:
        largest = max(rooms, key=lambda p: np.count_nonzero(rooms[p]))
        rows, columns = _window(rooms[largest])
        is_level = rng.random() < LEVEL_SHARE
        across, along, hit = (y, x, rows) if is_level else (x, y, columns)
        share, slope = rng.uniform(0.35, 0.65), np.float32(rng.uniform(-0.08, 0.08))
        start = across.ravel()[hit.start + int(share * (hit.stop - 1 - hit.start))]
        beyond = rooms[largest] & (across + slope * along > start)
        left = rooms[largest] & ~beyond
        if min(np.count_nonzero(beyond), np.count_nonzero(left)) >= LEAST_REGION * beyond.size:
            rooms[largest], rooms[position] = left, beyond
            np.copyto(stuff_map, np.int32(position), where=beyond)
    pixels = np.empty(image_hw, np.uint32)
    for position, design in chosen:
        if position in rooms:
            window = _window(rooms[position])
            hw = (window[0].stop - window[0].start, window[1].stop - window[1].start)
            texture = draw_texture(
                design.tone, design.ramps, hw, composition, rng, long_side_px=max(image_hw)
            )
            np.copyto(pixels[window], texture, where=rooms[position][window])
    return Background(pixels=pixels, stuff_map=stuff_map)


def _axes(image_hw: tuple[int, int]) -> tuple[Float32[ndarray, "1 W"], Float32[ndarray, "H 1"]]:
    """x and y from -0.5 to 0.5."""
    height, width = image_hw
    x = (np.arange(width, dtype=np.float32) / width - 0.5)[None, :]
    y = (np.arange(height, dtype=np.float32) / height - 0.5)[:, None]
    return x, y


def _leaves_tiny_region(stuff_map: Int32[ndarray, "H W"], beyond: Bool[ndarray, "H W"]) -> bool:
    """Whether `beyond`, or a region that it cuts, would be smaller than `LEAST_REGION`."""
    least = LEAST_REGION * stuff_map.size
    left = np.bincount(stuff_map[~beyond], minlength=1)
    return bool(beyond.sum() < least or left[left > 0].min(initial=stuff_map.size) < least)


def _window(region: Bool[ndarray, "H W"]) -> tuple[slice, slice]:
    """The rows and the columns that a region spans."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
