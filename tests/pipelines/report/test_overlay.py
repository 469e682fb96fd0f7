"""Tests of pipelines.report.overlay."""

from typing import Any

import numpy as np
import pytest

from pipelines.report.overlay import draw_overlay, segment_colour


def make_segments(ids: np.ndarray, *, is_thing: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "id": i,
            "category_id": 10 + i,
            "category_name": f"class {i}",
            "isthing": is_thing,
        }
        for i in np.unique(ids[ids > 0]).tolist()
    ]


def test_every_segment_is_tinted_and_void_stays_clear():
    ids = np.array([[0, 1], [0, 2]], np.int32)
    overlay = draw_overlay(make_segments(ids, is_thing=False), ids, max_side_px=2)
    assert overlay.rgba.shape == (2, 2, 4)
    assert overlay.rgba[:, 0, 3].tolist() == [0, 0]
    assert overlay.rgba[0, 1, :3].tolist() != overlay.rgba[1, 1, :3].tolist()
    assert overlay.name_tags == ()


def test_things_have_an_opaque_outline_on_their_own_pixels():
    ids = np.zeros((20, 20), np.int32)
    ids[5:15, 5:15] = 1
    alpha = draw_overlay(make_segments(ids), ids, max_side_px=20).rgba[..., 3]
    assert (alpha[5, 5:15] == 255).all()
    assert (alpha[5:15, 14] == 255).all()
    assert 0 < alpha[10, 10] < 255
    assert not alpha[ids == 0].any()


def test_a_small_image_grows_by_a_whole_factor_and_a_large_one_shrinks():
    ids = np.ones((10, 30), np.int32)
    assert draw_overlay(make_segments(ids), ids, max_side_px=64).rgba.shape == (20, 60, 4)
    assert draw_overlay(make_segments(ids), ids, max_side_px=15).rgba.shape == (5, 15, 4)


def test_a_name_tag_lies_inside_its_thing_even_when_the_centroid_does_not():
    ids = np.zeros((21, 21), np.int32)
    ids[:, :3] = ids[:3, :] = ids[:, -3:] = 1  # an arch
    (tag,) = draw_overlay(make_segments(ids), ids, max_side_px=21).name_tags
    assert (tag.segment_id, tag.name) == (1, "class 1")
    assert ids[int(tag.y * 21), int(tag.x * 21)] == 1


@pytest.mark.parametrize("is_thing", [True, False])
def test_colours_depend_on_the_class_and_for_things_on_the_instance(is_thing):
    first = {"id": 1, "category_id": 7, "isthing": is_thing}
    assert segment_colour(first) == segment_colour(dict(first))
    assert segment_colour(first) != segment_colour(first | {"category_id": 8})
    assert (segment_colour(first) != segment_colour(first | {"id": 2})) == is_thing
