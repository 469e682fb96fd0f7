"""Tests of pipelines.compare.image_pair, on maps that one can count by hand."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from pipelines.compare.image_pair import VOID, compare_image
from possam_core.labels.rle import rle_counts

IDS = {"cat": 1, "dog": 2, "sky": 3}


def row(ids: list[list[int]], names: list[str], status: str = "ok") -> dict[str, Any]:
    """A row as a shard holds it, as far as it is compared."""
    label_map = np.array(ids, np.int32)
    counts = rle_counts(label_map)
    size = list(label_map.shape)
    return {
        "status": status,
        "height": size[0],
        "width": size[1],
        "segments_info": [
            {"category_name": name, "segmentation": {"size": size, "counts": counts[i]}}
            for i, name in enumerate(names, start=1)
        ],
    }


FAILED = {"status": "error", "height": None, "width": None, "segments_info": []}
CAT_AND_SKY = row([[1, 1, 2, 2], [1, 1, 2, 2]], ["cat", "sky"])


def test_the_same_labels_differ_in_nothing():
    pair = compare_image(CAT_AND_SKY, CAT_AND_SKY, IDS)
    assert pair is not None
    assert pair.changed == 0
    assert pair.pq == 100
    assert pair.flows == Counter({("cat", "cat"): 4, ("sky", "sky"): 4})


def test_pixels_flow_from_class_to_class_and_void_is_one_of_them():
    other = row([[1, 1, 1, 0], [1, 1, 2, 2]], ["cat", "dog"])
    pair = compare_image(CAT_AND_SKY, other, IDS)
    assert pair is not None
    assert pair.flows == {
        ("cat", "cat"): 4,
        ("sky", "cat"): 1,
        ("sky", VOID): 1,
        ("sky", "dog"): 2,
    }
    assert pair.changed == 0.5
    # The cat matches with IoU 4/5; sky is missed and dog is made up: (0.8 + 0 + 0) / 3.
    assert pair.pq == pytest.approx(100 * 0.8 / 3)


def test_a_thing_cut_in_two_keeps_its_class_but_not_its_quality():
    whole = row([[1, 1, 1, 1]], ["cat"])
    halves = row([[1, 1, 2, 2]], ["cat", "cat"])
    pair = compare_image(whole, halves, IDS)
    assert pair is not None
    assert pair.changed == 0
    assert pair.pq == 0  # no IoU above a half


def test_an_image_that_one_run_failed_on_is_all_void_there():
    missed = compare_image(CAT_AND_SKY, FAILED, IDS)
    assert missed is not None
    assert (missed.changed, missed.pq) == (1, 0)
    found = compare_image(FAILED, CAT_AND_SKY, IDS)
    assert found is not None
    assert found.changed == 1
    assert found.pq is None  # what lies on void does not count against a prediction


def test_images_that_both_failed_on_or_of_two_sizes_are_not_compared():
    assert compare_image(FAILED, FAILED, IDS) is None
    assert compare_image(CAT_AND_SKY, row([[1, 1]], ["cat"]), IDS) is None
