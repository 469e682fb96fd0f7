"""Tests of possam_core.evaluation.coco_panoptic."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from possam_core.errors import GroundTruthError
from possam_core.evaluation.coco_panoptic import read_annotation, read_ground_truth

IDS = np.array([[0, 5, 5], [70_000, 70_000, 5]], np.int32)


def write_ground_truth(folder: Path, **overrides: Any) -> Path:
    """A corpus of one image with two segments; `overrides` replace top-level JSON keys."""
    (folder / "panoptic").mkdir()
    rgb = np.stack([IDS % 256, IDS // 256 % 256, IDS // 65536], -1).astype(np.uint8)
    Image.fromarray(rgb).save(folder / "panoptic" / "a.png")
    content = {
        "images": [{"id": 3, "file_name": "a.jpg", "width": 3, "height": 2}],
        "annotations": [
            {
                "image_id": 3,
                "file_name": "a.png",
                "segments_info": [
                    {"id": 5, "category_id": 1, "area": 3, "iscrowd": 0},
                    {"id": 70_000, "category_id": 2, "area": 2, "iscrowd": 1},
                ],
            }
        ],
        "categories": [
            {"id": 1, "name": "cat", "isthing": 1, "seen": 1},
            {"id": 2, "name": "sky", "isthing": 0, "seen": 0},
        ],
    }
    path = folder / "panoptic.json"
    path.write_text(json.dumps(content | overrides))
    return path


def with_segments(*segments: dict[str, int]) -> list[dict[str, Any]]:
    return [{"image_id": 3, "file_name": "a.png", "segments_info": list(segments)}]


def test_the_json_gives_categories_and_images_and_the_png_ids(tmp_path):
    truth = read_ground_truth(write_ground_truth(tmp_path))
    assert [(c.name, c.is_thing, c.is_seen) for c in truth.categories] == [
        ("cat", True, True),
        ("sky", False, False),
    ]
    assert [image.file_name for image in truth.images] == ["a.jpg"]
    annotation = read_annotation(truth.images[0])
    np.testing.assert_array_equal(annotation.ids, IDS)
    assert annotation.category_ids == {5: 1, 70_000: 2}
    assert annotation.crowd_ids == {70_000}


def test_without_the_key_seen_it_is_unknown(tmp_path):
    path = write_ground_truth(
        tmp_path, categories=[{"id": i, "name": "x", "isthing": 1} for i in (1, 2)]
    )
    assert {c.is_seen for c in read_ground_truth(path).categories} == {None}


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([{"id": 5, "category_id": 1, "area": 3}], "does not name"),
        (
            [
                {"id": 5, "category_id": 1, "area": 4},
                {"id": 70_000, "category_id": 2, "area": 2},
            ],
            "segment 5 3 pixels, but its JSON says 4",
        ),
    ],
)
def test_a_png_that_contradicts_its_json_is_refused_by_name(tmp_path, segments, message):
    path = write_ground_truth(tmp_path, annotations=with_segments(*segments))
    image = read_ground_truth(path).images[0]
    with pytest.raises(GroundTruthError, match=f"a.png.*{message}"):
        read_annotation(image)


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([{"id": 5, "category_id": 9, "area": 3}], "unknown category 9"),
        ([{"id": 5, "category_id": 1, "area": 3}] * 2, r"unique within a.jpg, got \[5, 5\]"),
        ([{"id": 5, "category_id": 1}], "misses a field"),
    ],
)
def test_a_json_that_breaks_the_format_is_refused_by_name(tmp_path, segments, message):
    path = write_ground_truth(tmp_path, annotations=with_segments(*segments))
    with pytest.raises(GroundTruthError, match=f"panoptic.json.*{message}"):
        read_ground_truth(path)


def test_unreadable_files_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(GroundTruthError, match="could not be read"):
        read_ground_truth(tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(GroundTruthError, match="does not parse"):
        read_ground_truth(tmp_path / "bad.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(GroundTruthError, match="expected COCO panoptic"):
        read_ground_truth(tmp_path / "list.json")
    image = read_ground_truth(write_ground_truth(tmp_path)).images[0]
    Image.new("L", (3, 2)).save(image.png_path)
    with pytest.raises(GroundTruthError, match="mode L"):
        read_annotation(image)
    image.png_path.unlink()
    with pytest.raises(GroundTruthError, match="expected a PNG"):
        read_annotation(image)
