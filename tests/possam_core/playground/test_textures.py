"""Tone fields and colour ramps."""

import numpy as np
import pytest

from possam_core.playground import PLAYGROUND, WORKSHOP
from possam_core.playground.textures import colour_tone, draw_texture, pack_rgb

STUFF = (*PLAYGROUND.stuff, *WORKSHOP.stuff)
COMPOSITION = PLAYGROUND.style.composition


def unpack(pixels: np.ndarray) -> np.ndarray:
    return pixels.view(np.uint8).reshape(*pixels.shape, 4)


def test_pack_rgb_clips_and_is_opaque() -> None:
    packed = pack_rgb(np.array([[1, 2, 3], [-5, 300, 0]], np.float32))
    assert unpack(packed).tolist() == [[1, 2, 3, 255], [0, 255, 0, 255]]


def test_colour_tone_follows_the_ramp_and_clips_tones() -> None:
    ramp = ((0.0, (0, 0, 0)), (1.0, (200, 0, 0)))
    tone = np.array([[-1.0, 0.0, 0.5, 1.0, 2.0]], np.float32)
    red = unpack(colour_tone(tone, ramp, COMPOSITION, np.random.default_rng(0)))[0, :, 0].tolist()
    assert red[0] == red[1] == 0
    assert red[3] == red[4] >= 160  # the whole ramp may shift by up to 18 %
    assert red[2] == pytest.approx(red[3] / 2, abs=2)


@pytest.mark.parametrize("stuff", STUFF, ids=lambda s: s.name)
@pytest.mark.parametrize("image_hw", [(80, 160), (31, 17)], ids=str)
def test_texture_covers_the_image_and_is_not_flat(stuff, image_hw: tuple[int, int]) -> None:
    pixels = draw_texture(stuff.tone, stuff.ramps, image_hw, COMPOSITION, np.random.default_rng(1))
    assert pixels.shape == image_hw
    assert unpack(pixels)[..., :3].std() > 1.5


@pytest.mark.parametrize("stuff", STUFF, ids=lambda s: s.name)
def test_texture_differs_between_generators_and_not_for_the_same(stuff) -> None:
    first, again, other = (
        draw_texture(stuff.tone, stuff.ramps, (60, 80), COMPOSITION, np.random.default_rng(s))
        for s in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
