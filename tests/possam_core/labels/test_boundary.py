import numpy as np
import pytest

from possam_core.labels import boundary
from possam_core.labels.pixel_runs import PixelRuns
from possam_core.playground import generate_scene


def two_halves(size: int = 32) -> np.ndarray:
    """Black on the left, grey noise of a few levels on the right."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4, (size, size, 3), dtype=np.uint8)
    pixels[:, size // 2 :] += 100
    return pixels


def ids_split_at(column: int, size: int = 32) -> np.ndarray:
    ids = np.ones((size, size), np.int32)
    ids[:, column:] = 2
    return ids


def boundary_sharpness(pixels: np.ndarray, ids: np.ndarray) -> float:
    runs = PixelRuns.of_map(ids, [i for i in np.unique(ids).tolist() if i])
    return boundary.boundary_sharpness(pixels, runs)


def test_a_border_on_an_edge_of_the_image_is_sharp() -> None:
    assert boundary_sharpness(two_halves(), ids_split_at(16)) == 1.0


def test_a_border_that_misses_the_edge_is_as_good_as_chance() -> None:
    # One row of 32 pairs, each above the median of all with a chance of about a half.
    assert boundary_sharpness(two_halves(), ids_split_at(8)) == pytest.approx(0.5, abs=0.25)


def test_the_share_counts_pairs_of_pixels() -> None:
    # Eight columns: 3 and 4 differ, nothing else does. The border follows them in rows 0 to 5,
    # then turns along row 6 (pairs one above the other, columns 4 to 6) to column 7.
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 4:] = 200
    ids = np.ones((8, 8), np.int32)
    ids[:6, 4:] = 2
    ids[6:, 7:] = 2
    # Sharp: six pairs in rows 0 to 5. Not: three pairs below row 5, two pairs at column 7.
    assert boundary_sharpness(pixels, ids) == pytest.approx(6 / 11)


def test_void_has_borders_like_a_segment() -> None:
    ids = np.where(ids_split_at(16) == 2, 0, 1).astype(np.int32)
    assert boundary_sharpness(two_halves(), ids) == 1.0


def test_labels_without_a_border_are_sharp_unless_all_is_void() -> None:
    pixels = two_halves()
    assert boundary_sharpness(pixels, np.ones((32, 32), np.int32)) == 1.0
    assert boundary_sharpness(pixels, np.zeros((32, 32), np.int32)) == 0.0


def test_an_image_of_one_colour_has_no_edge_to_lie_on() -> None:
    assert boundary_sharpness(np.full((32, 32, 3), 7, np.uint8), ids_split_at(16)) == 0.0


@pytest.mark.parametrize("image_hw", [(1, 9), (9, 1), (2, 2), (8, 400)])
def test_odd_shapes_have_a_sharpness(image_hw: tuple[int, int]) -> None:
    ids = np.arange(image_hw[0] * image_hw[1], dtype=np.int32).reshape(image_hw) % 2 + 1
    pixels = np.repeat(100 * ids[..., None], 3, axis=2).astype(np.uint8)
    assert 0.0 <= boundary_sharpness(pixels, ids) <= 1.0


def test_true_masks_are_sharper_the_less_they_are_shifted() -> None:
    scenes = [generate_scene(5, index) for index in range(8)]
    means = [
        np.mean([boundary_sharpness(s.image, np.roll(s.ids, (px, px), (0, 1))) for s in scenes])
        for px in (0, 2, 16)
    ]
    assert means[0] > 0.95
    assert means[0] > means[1] + 0.1 > means[2] + 0.2
    assert means[2] == pytest.approx(0.5, abs=0.1)
