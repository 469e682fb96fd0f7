"""Regions of stuff: waves and rooms."""

from dataclasses import replace

import numpy as np
import pytest

from possam_core.playground import PLAYGROUND, WORKSHOP, World
from possam_core.playground.background import LEAST_REGION, draw_background
from possam_core.playground.designs import StuffClass
from possam_core.playground.textures import Surface, draw_texture

both_worlds = pytest.mark.parametrize("world", [PLAYGROUND, WORKSHOP], ids=lambda w: w.name)
ROOMS = WORKSHOP.style.composition


@both_worlds
def test_no_region_of_stuff_is_tiny(world: World) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        background = draw_background(world.stuff, (60, 90), world.style.composition, rng)
        shares = np.bincount(background.stuff_map.ravel()) / (60 * 90)
        assert shares[shares > 0].min() >= LEAST_REGION


@both_worlds
def test_one_kind_of_stuff_covers_all(world: World) -> None:
    rng = np.random.default_rng(0)
    background = draw_background(world.stuff[:1], (20, 30), world.style.composition, rng)
    assert not background.stuff_map.any()
    assert background.pixels.shape == (20, 30)


def test_rooms_are_split_by_lines_and_each_has_one_texture() -> None:
    flat = [
        StuffClass(name=str(i), synonyms=(), tone=_even_tone, ramps=(((0.0, c), (1.0, c)),))
        for i, c in enumerate(((40, 0, 0), (0, 40, 0), (0, 0, 40), (40, 40, 0), (0, 40, 40)))
    ]
    five = replace(ROOMS, num_regions=(5, 5))
    background = draw_background(flat, (100, 160), five, np.random.default_rng(3))
    assert len(np.unique(background.stuff_map)) == 5
    for position in range(5):
        room = background.stuff_map == position
        assert len(np.unique(background.pixels[room])) == 1
        assert (np.abs(np.diff(room.astype(int), axis=0)).sum(axis=0) <= 2).all()  # in one piece


def test_a_texture_of_a_part_has_the_scale_of_the_whole() -> None:
    seen: list[float] = []

    def tone(surface: Surface) -> np.ndarray:
        seen.append(surface.pixel)
        return _even_tone(surface)

    ramps = (((0.0, (0, 0, 0)), (1.0, (0, 0, 0))),)
    rng = np.random.default_rng(0)
    draw_texture(tone, ramps, (10, 20), ROOMS, rng, long_side_px=200)
    draw_texture(tone, ramps, (10, 20), ROOMS, rng)
    assert seen == pytest.approx([1 / 200, 1 / 20])


def _even_tone(surface: Surface) -> np.ndarray:
    return np.zeros(surface.x.shape, np.float32)
