"""Tests of pipelines.corrections.corrected_row."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipelines.corrections.corrected_row import corrected_row
from pipelines.formats.annotation import Region
from pipelines.run.classes import Category
from possam_core.errors import ConfigError

CATEGORIES = {
    "cup": Category(id=7, name="cup", is_thing=True, is_seen=True),
    "wall": Category(id=9, name="wall", is_thing=False, is_seen=False),
}
ROW = {
    "image_id": "12",
    "width": 4,
    "height": 2,
    "segments_info": [
        {
            "id": 5,
            "predicted_iou": 0.5,
            "margin": 0.5,
            "stability_score": 0.5,
            "entropy": 0.5,
            "clip_agrees": False,
        }
    ],
    "quality": {
        "coverage": 0.1,
        "entropy": 0.5,
        "boundary_sharpness": 0.3,
        "consistency": 0.5,
        "grade": "D",
    },
}


def region(name, rows, is_crowd=False):
    return Region(category_name=name, is_crowd=is_crowd, mask=np.array(rows, bool))


def corrected(*regions):
    return corrected_row(ROW, regions, CATEGORIES, image="a.jpg")


LEFT = [[1, 0, 0, 0], [1, 0, 0, 0]]
TOP_RIGHT = [[0, 0, 0, 1], [0, 0, 0, 0]]
SECOND = [[0, 1, 0, 0], [0, 1, 0, 0]]


def test_regions_become_segments_and_stuff_of_a_class_becomes_one():
    row = corrected(
        region("wall", LEFT),
        region("cup", SECOND, is_crowd=True),
        region("wall", TOP_RIGHT),
        region("cup", [[0, 0, 1, 0], [0, 0, 0, 0]]),
    )
    wall, crowd, cup = row["segments_info"]
    assert (wall["id"], wall["category_id"], wall["isthing"], wall["is_seen"]) == (
        1,
        9,
        False,
        False,
    )
    assert (wall["area"], wall["bbox"]) == (3, [0, 0, 4, 2])
    expected = np.array(LEFT) | np.array(TOP_RIGHT)
    np.testing.assert_array_equal(coco_mask.decode(wall["segmentation"]), expected)
    assert (crowd["id"], crowd["category_name"], crowd["iscrowd"]) == (2, "cup", True)
    assert (cup["id"], cup["area"], cup["bbox"], cup["iscrowd"]) == (3, 1, [2, 0, 1, 1], False)
    assert {s["score"] for s in row["segments_info"]} == {1.0}


def test_quality_is_counted_again_where_it_can_be():
    quality = corrected(region("wall", LEFT), region("cup", TOP_RIGHT))["quality"]
    assert (quality["coverage"], quality["void_frac"]) == (3 / 8, 5 / 8)
    assert (quality["num_things"], quality["num_stuff"]) == (1, 1)
    assert (quality["grade"], quality["reasons"]) == ("A", ["corrected"])
    assert (quality["mean_score"], quality["mean_predicted_iou"]) == (1.0, 1.0)
    assert quality["consistency"] is None
    assert quality["boundary_sharpness"] == 0.3  # the machine's: this needs the pixels
    assert ROW["quality"]["grade"] == "D"


def test_what_the_model_does_not_know_stays_unknown_when_a_person_corrects_it():
    """A teacher without predicted IoU and without CLIP, whose training classes nobody knows."""
    segment = ROW["segments_info"][0] | {"predicted_iou": None, "clip_agrees": None}
    cup = Category(id=7, name="cup", is_thing=True, is_seen=None)
    row = corrected_row(
        ROW | {"segments_info": [segment]}, [region("cup", LEFT)], {"cup": cup}, image="a.jpg"
    )
    (drawn,) = row["segments_info"]
    assert (drawn["predicted_iou"], drawn["clip_agrees"], drawn["is_seen"]) == (None,) * 3
    assert (drawn["score"], drawn["margin"], drawn["entropy"]) == (1.0, 1.0, 0.0)
    quality = row["quality"]
    assert (quality["mean_predicted_iou"], quality["clip_agreement"]) == (None, None)
    assert (quality["mean_score"], quality["entropy"], quality["grade"]) == (1.0, 0.0, "A")


@pytest.mark.parametrize(("entropy", "expected"), [(None, None), (1.0, 0.0)])
def test_of_an_image_without_segments_only_schema_2_says_that_the_model_knows(entropy, expected):
    quality = ROW["quality"] | {"entropy": entropy}
    row = corrected_row(
        ROW | {"segments_info": [], "quality": quality},
        [region("cup", LEFT)],
        CATEGORIES,
        image="a.jpg",
    )
    assert row["segments_info"][0]["entropy"] == row["quality"]["entropy"] == expected


def test_an_image_may_be_left_without_segments():
    row = corrected()
    assert row["segments_info"] == []
    assert (row["quality"]["coverage"], row["quality"]["grade"]) == (0.0, "A")


@pytest.mark.parametrize(
    ("regions", "sentence"),
    [
        ([region("cups", LEFT)], "a.jpg: the run has no class 'cups'; did you mean 'cup'"),
        ([region("xyz", LEFT)], "a.jpg: the run has no class 'xyz'; use a class of the run"),
        ([region("cup", np.zeros((2, 4)))], "a.jpg: a region of 'cup' covers no pixel"),
        (
            [region("wall", LEFT), region("cup", [[1, 1, 0, 0], [0, 0, 0, 0]])],
            "a.jpg: a region of 'cup' and one of 'wall' overlap",
        ),
        (
            [region("cup", LEFT), region("cup", LEFT)],
            "a.jpg: a region of 'cup' and one of 'cup' overlap",
        ),
    ],
)
def test_what_cannot_be_used_is_named_with_image_and_class(regions, sentence):
    with pytest.raises(ConfigError, match=sentence):
        corrected(*regions)


def test_regions_of_one_stuff_class_may_overlap():
    (wall,) = corrected(region("wall", LEFT), region("wall", LEFT))["segments_info"]
    assert wall["area"] == 2
