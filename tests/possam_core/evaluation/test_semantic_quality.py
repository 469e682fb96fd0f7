"""Maps of one row, worked out by hand."""

import numpy as np
import pytest

from possam_core.errors import PossamError
from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.evaluation.semantic_quality import category_ious, count_pixels, mean_ious

CAT, DOG, SKY = 10, 20, 30
TRUTH = PanopticAnnotation(
    ids=np.array([[1, 1, 2, 3, 3, 3, 0, 0]], np.int32),
    category_ids={1: CAT, 2: CAT, 3: SKY},
    crowd_ids=frozenset({2}),
)
GUESS = np.array([[CAT, DOG, CAT, SKY, SKY, CAT, SKY, DOG]], np.int32)


def test_pixels_are_counted_by_class_with_crowds_and_without_void() -> None:
    counts = count_pixels(TRUTH, GUESS).counts
    assert counts == {(CAT, CAT): 2, (CAT, DOG): 1, (SKY, SKY): 2, (SKY, CAT): 1}


def test_iou_is_of_the_classes_that_are_true_somewhere() -> None:
    pixels = count_pixels(TRUTH, GUESS)
    assert category_ious(pixels) == {CAT: 2 / 4, SKY: 2 / 3}
    groups = {"all": {CAT, DOG, SKY}, "seen": {CAT, DOG}, "unseen": {DOG}}
    assert mean_ious(pixels, groups) == {
        "all": pytest.approx((2 / 4 + 2 / 3) / 2),
        "seen": 0.5,
        "unseen": None,
    }


def test_an_image_of_nothing_but_void_counts_nothing() -> None:
    void = PanopticAnnotation(ids=np.zeros((1, 8), np.int32), category_ids={})
    assert count_pixels(void, GUESS).counts == {}


def test_maps_of_two_sizes_are_refused() -> None:
    with pytest.raises(PossamError, match="one shape"):
        count_pixels(TRUTH, GUESS[:, :4])
