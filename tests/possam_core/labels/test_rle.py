import numpy as np
import pytest
from pycocotools import mask as coco_mask

from possam_core.errors import PossamError
from possam_core.labels.masks import areas_and_boxes
from possam_core.labels.pixel_runs import PixelRuns
from possam_core.labels.rle import decode_ids, decode_runs, rle_counts

MAP = np.array([[1, 1, 0], [2, 0, 2]], np.int32)  # 2 x 3; counted 1 2 | 1 0 | 0 2


def encode(mask: np.ndarray) -> str:
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()


def runs_of(ids: np.ndarray) -> PixelRuns:
    return decode_runs([encode(ids == i) for i in range(1, ids.max() + 1)], ids.shape)


def wavy_map(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    bands = (rows + 6 * np.sin(columns / 5)) // 9 + 8 * ((columns + 4 * np.cos(rows / 3)) // 40)
    return np.unique(bands, return_inverse=True)[1].reshape(height, width).astype(np.int32)


def test_the_runs_of_all_segments_come_by_place() -> None:
    runs = runs_of(MAP)
    assert runs.num_segments == 2
    assert runs.owners.tolist() == [0, 1, 0, 1]
    assert runs.starts.tolist() == [0, 1, 2, 5]
    assert runs.ends.tolist() == [1, 2, 3, 6]


def test_painting_gives_each_segment_its_value_and_the_rest_void() -> None:
    painted = runs_of(MAP).paint([5, 9], void=0)
    assert painted.tolist() == [[5, 5, 0], [9, 0, 9]]
    assert painted.flags.c_contiguous


def test_a_painted_map_has_the_smallest_type_that_holds_its_values() -> None:
    runs = runs_of(MAP)
    assert runs.paint([1, 2], void=255).dtype == np.uint8
    assert runs.paint([1, 256], void=0).dtype == np.uint16
    assert runs.paint([1, 2], void=65535).dtype == np.uint16
    assert runs.paint([1, 65536], void=0).dtype == np.uint32


def test_decoding_gives_each_pixel_the_id_of_its_segment() -> None:
    ids = decode_ids([encode(MAP == 1), encode(MAP == 2)], [5, 70_000], (2, 3))
    assert ids.tolist() == [[5, 5, 0], [70_000, 0, 70_000]]
    assert ids.dtype == np.int32


def test_an_image_without_segments_is_all_void() -> None:
    runs = decode_runs([], (2, 3))
    assert runs.paint([], void=255).tolist() == [[255] * 3] * 2
    assert runs.areas_and_boxes() == []


def test_a_map_with_long_and_many_runs_comes_back_as_it_was() -> None:
    ids = wavy_map(143, 227)
    assert len(np.unique(ids)) > 50
    counts = rle_counts(ids)
    runs = decode_runs(list(counts.values()), ids.shape)
    assert (runs.paint(list(counts), void=0) == ids).all()
    assert runs.areas_and_boxes() == list(areas_and_boxes(ids).values())


def test_areas_and_boxes_are_counted_from_the_runs() -> None:
    first, second = runs_of(MAP).areas_and_boxes()
    assert (first.area_px, first.bbox_xywh) == (2, (0, 0, 2, 1))
    assert (second.area_px, second.bbox_xywh) == (2, (0, 1, 3, 1))


def test_a_run_over_several_columns_fills_the_height_of_its_box() -> None:
    ids = np.array([[0, 1, 1], [1, 1, 0]], np.int32)  # one run, of pixels 1 to 4
    (geometry,) = runs_of(ids).areas_and_boxes()
    assert (geometry.area_px, geometry.bbox_xywh) == (4, (0, 0, 3, 2))


def test_segments_can_be_joined() -> None:
    ids = np.array([[1, 2, 3], [1, 0, 0]], np.int32)
    runs = runs_of(ids).regroup([0, 1, 0], 2)
    assert runs.paint([5, 6], void=0).tolist() == [[5, 6, 5], [5, 0, 0]]
    first, second = runs.areas_and_boxes()
    assert (first.area_px, first.bbox_xywh) == (3, (0, 0, 3, 2))
    assert (second.area_px, second.bbox_xywh) == (1, (1, 0, 1, 1))


@pytest.mark.parametrize(
    ("counts", "wrong"),
    [
        ([encode(MAP == 1), ""], "is empty"),
        (["\u00e9" + encode(MAP == 1)], "characters"),
        ([" " + encode(MAP == 1)], "characters"),
        ([encode(np.ones((2, 3))), encode(MAP == 1)], "overlap"),
        ([encode(np.ones((2, 4)))], "not of 3 x 2 pixels"),
        ([encode(MAP == 1), encode(np.zeros((2, 3)))], "no pixel"),
        ([encode(np.ones((900, 900)))[:-1]], "ends within a number"),
    ],
)
def test_damaged_segments_are_refused(counts: list[str], wrong: str) -> None:
    with pytest.raises(PossamError, match=wrong):
        decode_runs(counts, (2, 3))
