"""Tests of pipelines.formats.label_studio."""

import json

import numpy as np
import pytest

from pipelines.formats.label_studio import read_label_studio
from possam_core.errors import ConfigError
from tests.pipelines.formats.annotators import brush, region, task

HW = (8, 10)
MASK = np.zeros(HW, bool)
MASK[2:4, 1:9] = True
SQUARE = {"points": [[0, 0], [50, 0], [50, 100], [0, 100]], "closed": True}


@pytest.fixture
def write(tmp_path):
    def write(*tasks):
        path = tmp_path / "export.json"
        path.write_text(json.dumps(tasks))
        return path

    return write


def masks(path, image_hw=HW):
    (image,) = read_label_studio(path)
    return {r.category_name: r.mask for r in image.read_regions(image_hw)}


def test_brushes_polygons_and_rectangles_become_masks(write):
    box = {"x": 50, "y": 25, "width": 30, "height": 50, "rotation": 0}
    path = write(
        task(
            "a.jpg",
            [
                brush(MASK, "ball"),
                region("polygon", SQUARE, "wall", HW),
                region("rectangle", box, "cup", HW),
            ],
        )
    )
    found = masks(path)
    np.testing.assert_array_equal(found["ball"], MASK)
    expected = np.zeros(HW, bool)
    expected[:, :5] = True  # half of the width
    np.testing.assert_array_equal(found["wall"], expected)
    expected = np.zeros(HW, bool)
    expected[2:6, 5:8] = True  # from 50 % of 10 and 25 % of 8; 30 % and 50 % large
    np.testing.assert_array_equal(found["cup"], expected)


def test_a_rectangle_turns_clockwise_about_its_first_corner(write):
    # Six wide and two high with its corner at (6, 1): turned by 90 degrees it hangs down to the
    # left of that corner, two wide and six high.
    box = {"x": 60, "y": 12.5, "width": 60, "height": 25, "rotation": 90}
    expected = np.zeros(HW, bool)
    expected[1:7, 4:6] = True
    found = masks(write(task("a.jpg", [region("rectangle", box, "cup", HW)])))
    np.testing.assert_array_equal(found["cup"], expected)


def test_polygons_that_share_an_edge_share_no_pixel(write):
    left = {"points": [[0, 0], [63, 0], [31, 100], [0, 100]]}
    right = {"points": [[63, 0], [100, 0], [100, 100], [31, 100]]}
    found = masks(
        write(
            task(
                "a.jpg",
                [region("polygon", left, "wall", HW), region("polygon", right, "sky", HW)],
            )
        )
    )
    assert (found["wall"] ^ found["sky"]).all()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("s3://bucket/some/a%20b.jpg", "/some/a b.jpg"),
        ("/data/local-files/?d=some/a%20b.jpg", "some/a b.jpg"),
        ("/data/upload/3/0a1b2c3d-scene.jpg", "/data/upload/3/scene.jpg"),
        ("https://host/photos/scene.jpg?token=x", "/photos/scene.jpg"),
        ("scene.jpg", "scene.jpg"),
    ],
)
def test_addresses_of_images_become_their_paths(write, address, name):
    (image,) = read_label_studio(write(task(address, [])))
    assert (image.name, image.image_id) == (name, None)


def test_an_image_may_be_named_by_its_id_or_under_another_field(write):
    (image,) = read_label_studio(write(task("a.jpg", [], image_id="12ab")))
    assert image.image_id == "12ab"
    other = task("a.jpg", [])
    other["data"] = {"note": "some text", "photo": "/data/upload/1/00000000-b.JPG"}
    (image,) = read_label_studio(write(other))
    assert image.name == "/data/upload/1/b.JPG"


def test_the_newest_finished_annotation_counts(write):
    first = task("a.jpg", [brush(MASK, "ball")])
    newer = task("a.jpg", [brush(~MASK, "cup")])["annotations"][0]
    newer["updated_at"] = "2026-01-03T00:00:00Z"
    cancelled = newer | {"was_cancelled": True, "updated_at": "2026-01-04T00:00:00Z"}
    cancelled["result"] = []
    first["annotations"] = [newer, *first["annotations"], cancelled]
    assert set(masks(write(first))) == {"cup"}
    unfinished = task("b.jpg", []) | {"annotations": []}
    assert [image.name for image in read_label_studio(write(first, unfinished))] == ["a.jpg"]


def test_a_tool_without_labels_of_its_own_is_named_by_its_twin(write):
    twin = brush(MASK, "ball") | {"type": "labels"}
    twin["value"] = twin["value"] | {"labels": ["ball"]}
    bare = twin | {"type": "brush", "value": {"rle": twin["value"]["rle"], "format": "rle"}}
    choice = {"id": "c", "type": "choices", "value": {"choices": ["sharp"]}}
    assert set(masks(write(task("a.jpg", [bare, twin, choice])))) == {"ball"}
    with pytest.raises(ConfigError, match=r"a\.jpg: a region has no class; label it"):
        masks(write(task("a.jpg", [bare])))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"original_width": 11}, "10 x 8 pixels, got one of 11 x 8; annotate the upright"),
        ({"image_rotation": 90}, "of 'ball' cannot be read .it was drawn on the turned"),
        ({"value": {"polygonlabels": ["ball", "cup"]}}, "has the classes ball, cup; give it"),
        ({"value": {"polygonlabels": []}}, "has the classes none; give it"),
        ({"value": {"polygonlabels": ["ball"]}}, "of 'ball' cannot be read .KeyError: 'x'"),
        ({"value": SQUARE | {"points": [[0, 0], [1, 1]]}}, "cannot be read .2 corners"),
        ({"value": SQUARE | {"points": [[0, 0], [1e9, 1], [2, 2]]}}, "or some far outside"),
        ({"value": SQUARE | {"points": [[0, 0], ["a", 1], [2, 2]]}}, "of 'ball' cannot be read"),
        ({"value": {"rle": [0, 0, 1]}}, "of 'ball' cannot be read .its rle ends too early"),
        ({"original_height": None}, "got one of 10 x None"),
    ],
)
def test_a_region_that_cannot_be_used_is_named(write, change, reason):
    good = region("polygon", SQUARE, "ball", HW)
    changed = good | change
    if "value" in change:
        changed["value"] = {"polygonlabels": ["ball"]} | change["value"]
    with pytest.raises(ConfigError, match=f"a.jpg: .*{reason}"):
        masks(write(task("some/a.jpg", [changed])))


@pytest.mark.parametrize(
    "content", ['{"a": 1}', "[1]", '[{"data": {"image": "a.jpg"}, "brush": []}]', "no JSON"]
)
def test_a_file_that_is_not_a_json_export_is_named(tmp_path, content):
    path = tmp_path / "export.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"expected Label Studio's JSON export \(the format"):
        read_label_studio(path)
    with pytest.raises(ConfigError, match="could not be read"):
        read_label_studio(tmp_path / "other.json")
