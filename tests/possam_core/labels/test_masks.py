"""Tests of possam_core.labels.masks, with pycocotools as the judge of every byte."""

import numpy as np
import pytest
from numpy import ndarray
from pycocotools import mask as coco_mask

from possam_core.labels.masks import areas_and_boxes, id_areas, present_ids
from possam_core.labels.rle import rle_counts


def blobs(seed: int, height: int, width: int, num_ids: int) -> ndarray:
    """A map of rectangles painted over each other, with void left in between."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((height, width), np.int32)
    for segment_id in range(1, num_ids + 1):
        y, x = rng.integers(height), rng.integers(width)
        h, w = rng.integers(1, height + 1), rng.integers(1, width + 1)
        ids[y : y + h, x : x + w] = segment_id
    return ids


def noise(seed: int, height: int, width: int, num_ids: int) -> ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, num_ids + 1, (height, width)).astype(np.int32)


def assert_equals_pycocotools(ids: ndarray) -> None:
    names = [i for i in np.unique(ids).tolist() if i]
    counts, geometry = rle_counts(ids), areas_and_boxes(ids)
    assert list(counts) == names == list(geometry)
    for name in names:
        expected = coco_mask.encode(np.asfortranarray((ids == name).astype(np.uint8)))
        assert counts[name].encode() == expected["counts"]
        assert geometry[name].area_px == coco_mask.area(expected)
        assert list(geometry[name].bbox_xywh) == coco_mask.toBbox(expected).tolist()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("paint", [blobs, noise])
def test_random_maps_encode_to_the_very_bytes_of_pycocotools(paint, seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 90, 2).tolist()
    assert_equals_pycocotools(paint(seed, height, width, int(rng.integers(1, 12))))


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2), (3, 1), (1, 2)])
@pytest.mark.parametrize("seed", range(5))
def test_thin_maps_encode_to_the_very_bytes_of_pycocotools(shape, seed):
    assert_equals_pycocotools(noise(seed, *shape, 2))


def test_counts_and_boxes_of_a_map_worked_out_by_hand():
    ids = np.array([[0, 7, 7], [0, 9, 7]], np.int32)  # columns: 0 0 | 7 9 | 7 7
    # 7: two before, one, one gap, two; the last is stored as 2 - 1. 9: three, one, two after.
    assert rle_counts(ids) == {7: "2111", 9: "312"}
    geometry = areas_and_boxes(ids)
    assert (geometry[7].area_px, geometry[7].bbox_xywh) == (3, (1, 0, 2, 2))
    assert (geometry[9].area_px, geometry[9].bbox_xywh) == (1, (1, 1, 1, 1))


@pytest.mark.parametrize("value", [1, 255, 256, 70_000, 256**3 - 1, 2**31 - 1])
def test_an_id_that_fills_the_image_or_its_first_or_last_pixel_is_exact(value):
    assert_equals_pycocotools(np.full((5, 4), value, np.int32))
    for pixel in [(0, 0), (4, 3), (0, 3), (4, 0), (2, 2)]:
        ids = np.zeros((5, 4), np.int32)
        ids[pixel] = value
        assert_equals_pycocotools(ids)


def test_run_lengths_beyond_two_bytes_and_negative_deltas_are_exact():
    ids = np.zeros((300, 1000), np.int32)
    ids[:, 1:400] = 1  # a run of 119,700 pixels
    ids[5, 401:403] = 1
    ids[:, 500:503] = 1
    ids[:1, 990] = 1
    ids[7, ::300] = 2
    assert_equals_pycocotools(ids)


def test_powers_of_two_around_each_character_border_are_exact():
    for power in range(1, 18):
        for length in (2**power - 1, 2**power, 2**power + 1):
            line = np.concatenate([np.ones(3), np.zeros(length), np.ones(length), np.zeros(2)])
            line = np.concatenate([line, np.ones(1), np.zeros(1), np.ones(5)])
            assert_equals_pycocotools(line.astype(np.int32)[:, None])


def test_many_segments_are_exact():
    assert_equals_pycocotools(np.arange(1, 601, dtype=np.int32).reshape(20, 30))
    assert_equals_pycocotools(noise(3, 60, 70, 700) * 30_001)


def test_stripes_and_checkerboards_are_exact():
    rows, columns = np.mgrid[:40, :50]
    for pattern in (rows % 2, columns % 2, (rows + columns) % 2, rows % 3, (rows + columns) % 5):
        assert_equals_pycocotools(pattern.astype(np.int32))
        assert_equals_pycocotools(pattern.astype(np.int32) * 70_000)


def test_more_segments_than_sixteen_bits_can_number_are_exact():
    names = np.random.default_rng(0).permutation(3 * 70_000)[:70_000] + 1
    ids = names.reshape(250, 280).astype(np.int32)  # every pixel another segment
    counts, geometry = rle_counts(ids), areas_and_boxes(ids)
    assert len(counts) == len(geometry) == 70_000
    for name in [*names[:50].tolist(), *names[-50:].tolist()]:
        expected = coco_mask.encode(np.asfortranarray((ids == name).astype(np.uint8)))
        assert counts[name].encode() == expected["counts"]
        assert list(geometry[name].bbox_xywh) == coco_mask.toBbox(expected).tolist()


def test_every_value_of_a_map_is_present():
    assert present_ids(np.array([[0, 7, 7], [9, 0, 70_000]], np.int32)) == {0, 7, 9, 70_000}
    assert present_ids(np.zeros((0, 3), np.int32)) == set()
    ids = noise(5, 30, 40, 500)
    assert present_ids(ids.T) == set(ids.ravel().tolist())


def test_every_value_of_a_map_has_its_number_of_pixels():
    assert id_areas(np.array([[0, 7, 7], [7, 0, 70_000]], np.int32)) == {0: 2, 7: 3, 70_000: 1}
    assert id_areas(np.zeros((0, 3), np.int32)) == {}


def test_a_map_without_segments_has_no_counts():
    for shape in [(3, 4), (0, 5), (5, 0)]:
        assert rle_counts(np.zeros(shape, np.int32)) == {}
        assert areas_and_boxes(np.zeros(shape, np.int32)) == {}


def test_a_sliced_map_is_read_by_its_pixels_not_its_memory():
    ids = blobs(4, 64, 80, 9)
    assert_equals_pycocotools(ids[::2, 5:40])
    assert_equals_pycocotools(ids.T)
