"""Single things, drawn large and small."""

from dataclasses import replace

import numpy as np
import pytest

from possam_core.playground import PLAYGROUND, WORKSHOP, World
from possam_core.playground.sprites import MIN_THING_PX, Light, draw_light, render_thing

FLAT_LIGHT = Light(
    x=1.0,
    y=0.0,
    shading=0.0,
    has_outline=False,
    shadow=0.0,
    shadow_blur=0.0,
    shadow_offset=0.0,
    hatch=0.0,
)
TARGET = next(t for t in PLAYGROUND.things if t.name == "target")
DRAWING = PLAYGROUND.style.drawing


@pytest.mark.parametrize("diameter_px", [12.0, 60.0, 150.0])
def test_round_thing_covers_the_area_of_a_disc_of_its_diameter(diameter_px: float) -> None:
    sprite = render_thing(TARGET, diameter_px, FLAT_LIGHT, DRAWING, np.random.default_rng(0))
    expected = np.pi * (0.97 * diameter_px / 2) ** 2
    assert sprite.mask.sum() == pytest.approx(expected, rel=0.07)
    assert sprite.needed_px == max(MIN_THING_PX, int(np.ceil(0.4 * sprite.mask.sum())))


@pytest.mark.parametrize("diameter_px", [12.0, 150.0])
def test_mask_is_where_half_a_pixel_or_more_is_covered(diameter_px: float) -> None:
    sprite = render_thing(TARGET, diameter_px, FLAT_LIGHT, DRAWING, np.random.default_rng(3))
    assert np.array_equal(sprite.mask, sprite.coverage >= 0.5)
    assert ((sprite.coverage > 0) & (sprite.coverage < 1)).any()  # soft edges
    assert not sprite.rgb[:, sprite.coverage == 0].any()
    border = (sprite.mask[0], sprite.mask[-1], sprite.mask[:, 0], sprite.mask[:, -1])
    assert not any(side.any() for side in border)  # nothing is cut off by the patch


def test_outline_changes_the_image_and_not_the_mask() -> None:
    outlined = replace(FLAT_LIGHT, has_outline=True)
    plain, rimmed = (
        render_thing(TARGET, 60.0, light, DRAWING, np.random.default_rng(5))
        for light in (FLAT_LIGHT, outlined)
    )
    assert np.array_equal(plain.mask, rimmed.mask)
    assert rimmed.rgb.sum() < plain.rgb.sum()


def test_side_towards_the_light_is_brighter() -> None:
    lit = replace(FLAT_LIGHT, shading=0.3)
    rgb = render_thing(TARGET, 60.0, lit, DRAWING, np.random.default_rng(0)).rgb.sum(axis=0)
    half = rgb.shape[1] // 2
    assert rgb[:, half:].sum() > 1.1 * rgb[:, :half].sum()


def test_hatching_darkens_the_side_away_from_the_light_alone() -> None:
    shaded = replace(FLAT_LIGHT, shading=0.3)
    hatched = replace(shaded, hatch=0.5)
    plain, lined = (
        render_thing(TARGET, 60.0, light, DRAWING, np.random.default_rng(0)).rgb
        for light in (shaded, hatched)
    )
    half = plain.shape[2] // 2
    assert np.array_equal(plain[:, :, half:], lined[:, :, half:])
    ratio = lined[:, :, :half].sum() / plain[:, :, :half].sum()
    assert ratio == pytest.approx(0.75, abs=0.02)  # every second pixel at half its brightness


@pytest.mark.parametrize("world", [PLAYGROUND, WORKSHOP], ids=lambda w: w.name)
def test_light_comes_from_a_unit_direction(world: World) -> None:
    light = draw_light(world.style.drawing, np.random.default_rng(0))
    assert np.hypot(light.x, light.y) == pytest.approx(1.0)


def test_light_of_the_second_world_comes_from_above_and_outlines_everything() -> None:
    lights = [draw_light(WORKSHOP.style.drawing, np.random.default_rng(s)) for s in range(50)]
    assert all(light.y < 0.0 and light.has_outline for light in lights)
    assert {light.hatch > 0.0 for light in lights} == {True, False}
