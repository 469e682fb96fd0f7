"""Views worked out by hand on small maps."""

import numpy as np
import pytest

from possam_core.errors import ConfigError
from possam_core.training.data.augment import (
    AugmentConfig,
    View,
    draw_view,
    keep_present,
    view_ids,
    view_image,
)

WIDE = np.array([[1, 1, 2, 2], [3, 3, 4, 4]], np.int32)


def make_view(
    resized: tuple[int, int], offset: tuple[int, int] = (0, 0), flip: bool = False
) -> View:
    return View(resized_hw=resized, offset_hw=offset, is_flipped=flip)


def test_a_whole_image_lies_at_the_top_left_of_its_canvas() -> None:
    expected = [[1, 1, 2, 2], [3, 3, 4, 4], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert view_ids(WIDE, make_view((2, 4)), 4).tolist() == expected


def test_a_flip_mirrors_the_image_and_leaves_the_padding_where_it_is() -> None:
    tall = np.array([[1, 2], [1, 2], [3, 3]], np.int32)
    expected = [[2, 1, 0], [2, 1, 0], [3, 3, 0]]
    assert view_ids(tall, make_view((3, 2), flip=True), 3).tolist() == expected


def test_an_enlarged_image_is_cropped_where_the_view_says() -> None:
    # Twice as large, the second row is 1 1 1 1 2 2 2 2; the crop begins at row 1, column 2.
    expected = [[1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4], [0, 0, 0, 0]]
    assert view_ids(WIDE, make_view((4, 8), (1, 2)), 4).tolist() == expected


def test_a_reduced_image_has_the_ids_at_the_centres() -> None:
    assert view_ids(WIDE, make_view((1, 2)), 2).tolist() == [[3, 4], [0, 0]]


def test_at_its_own_size_an_image_keeps_its_pixels() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    shown = view_image(pixels, make_view((2, 4), flip=True), 4)
    np.testing.assert_array_equal(shown[:, :2].permute(1, 2, 0).numpy(), pixels[:, ::-1])
    assert not shown[:, 2:].any()


def test_image_and_ids_stay_aligned_in_every_view() -> None:
    ids = np.ones((48, 64), np.int32)
    ids[:, 24:] = 2
    pixels = np.where(ids == 2, 200, 0).astype(np.uint8)[..., None].repeat(3, axis=-1)
    rng, config = np.random.default_rng(0), AugmentConfig(min_scale=0.2, max_scale=3.0)
    seen_flips, seen_crops = set(), 0
    for _ in range(40):
        view = draw_view((48, 64), 32, config, rng)
        height, width = view.shown_hw(32)
        bright = view_image(pixels, view, 32)[0, :height, :width].numpy() > 100
        right = view_ids(ids, view, 32)[:height, :width] == 2
        assert (bright != right).sum() <= height  # at most the column at the border
        seen_flips.add(view.is_flipped)
        seen_crops += view.offset_hw != (0, 0)
    assert seen_flips == {False, True}
    assert seen_crops > 5


def test_views_cover_the_whole_image_and_nothing_outside() -> None:
    rng = np.random.default_rng(0)
    config = AugmentConfig(min_scale=2.0, max_scale=2.0)
    views = [draw_view((4, 2), 4, config, rng) for _ in range(200)]
    assert {view.resized_hw for view in views} == {(8, 4)}
    assert {view.offset_hw for view in views} == {(top, 0) for top in range(5)}


def test_a_fixed_view_shows_the_image_whole() -> None:
    config = AugmentConfig(min_scale=1.0, max_scale=1.0, flip=False)
    assert config.is_fixed
    view = draw_view((100, 50), 40, config, np.random.default_rng(0))
    assert view == make_view((40, 20))


def test_segments_outside_a_view_are_dropped() -> None:
    ids, kept = keep_present(
        np.array([[0, 2], [2, 4]], np.int32), num_segments=4, dropped=frozenset({4})
    )
    assert ids.tolist() == [[0, 1], [1, 0]]
    assert kept == [2]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (2.0, 1.0), (1.0, 17.0)])
def test_impossible_scales_are_refused(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match=r"(min|max)_scale must be"):
        AugmentConfig(min_scale=low, max_scale=high)
