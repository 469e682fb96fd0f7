"""The camera's effect on flat light of 100, worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from possam_core.playground.camera import photograph
from possam_core.playground.style import Camera

NEUTRAL = Camera(
    gain=(1.0, 1.0),
    tint=(1.0, 1.0),
    cast=(1.0, 1.0, 1.0),
    light_fall=0.0,
    vignette=(0.0, 0.0),
    noise=(0.0, 0.0),
    blur_share=0.0,
    blur_px=(0.2, 0.7),
    jpeg_share=0.0,
    jpeg_quality=(60, 95),
)
FLAT = np.full((3, 5, 7), 100.0, np.float32)


def shoot(camera: Camera, seed: int = 0) -> np.ndarray:
    return photograph(FLAT, camera, np.random.default_rng(seed))


def test_a_neutral_camera_changes_nothing() -> None:
    assert shoot(NEUTRAL).tolist() == np.full((5, 7, 3), 100).tolist()


def test_gain_and_cast_multiply_and_white_is_the_most() -> None:
    camera = replace(NEUTRAL, gain=(2.0, 2.0), cast=(1.0, 0.5, 3.0))
    assert shoot(camera)[2, 3].tolist() == [200, 100, 255]


def test_a_full_vignette_leaves_the_middle_and_blackens_the_corners() -> None:
    photo = shoot(replace(NEUTRAL, vignette=(1.0, 1.0)))[..., 0]
    assert photo[2, 3] == 100
    assert photo[0, 0] == photo[4, 6] == 0
    assert photo[2, 0] == photo[0, 3] == 50


@pytest.mark.parametrize("changes", [{"noise": (9.0, 9.0)}, {"light_fall": 0.5}], ids=str)
def test_noise_and_falling_light_differ_from_photograph_to_photograph(changes: dict) -> None:
    camera = replace(NEUTRAL, **changes)
    assert np.array_equal(shoot(camera, 1), shoot(camera, 1))
    assert not np.array_equal(shoot(camera, 1), shoot(camera, 2))
