"""Curves of a few claims, worked out by hand."""

import json

import numpy as np
import pytest

from possam_core.evaluation.panoptic_quality import PanopticAnnotation, overlap_segments
from possam_core.evaluation.reliability import (
    CLASS_SCORE,
    NUM_BINS,
    PREDICTED_IOU,
    SCORE,
    Reliability,
    count_claims,
    measure_reliability,
)
from tests.factories import make_panoptic, make_segment

CAT, DOG = 1, 2


def curve(claims: list[float], outcomes: list[float]) -> Reliability:
    return count_claims(np.array(claims), np.array(outcomes, np.float64))


def test_claims_are_counted_in_fifteen_bins_of_equal_width() -> None:
    counted = curve([0.0, 0.05, 0.5, 1.0], [0, 1, 1, 0])
    assert NUM_BINS == 15
    assert counted.num == (2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1)
    assert counted.claimed[0] == pytest.approx(0.05)
    assert counted.found[0] == 1.0


def test_the_error_is_the_mean_distance_of_claim_and_outcome() -> None:
    # bin 0: claims 0.025, found 0.5; bin 13: claims 0.9, found 1; two and one of three
    error = curve([0.0, 0.05, 0.9], [0, 1, 1]).expected_calibration_error
    assert error == pytest.approx((2 * 0.475 + 0.1) / 3)


def test_calibrated_claims_have_no_error_and_no_claims_have_no_figure() -> None:
    assert curve([0.75] * 4, [1, 1, 1, 0]).expected_calibration_error == pytest.approx(0.0)
    assert Reliability().expected_calibration_error is None


def test_curves_add_up_and_survive_json_unchanged() -> None:
    one, other = curve([0.1, 0.7], [0, 1]), curve([0.72], [0.3])
    both = curve([0.1, 0.7, 0.72], [0, 1, 0.3])
    total = one + other
    assert total.num == both.num
    assert total.claimed == pytest.approx(both.claimed)
    assert total.found == pytest.approx(both.found)
    assert Reliability.from_json(json.loads(json.dumps(total.to_json()))) == total


def test_each_claim_is_compared_with_its_outcome() -> None:
    truth = PanopticAnnotation(
        ids=np.array([[1, 1, 1, 1, 2, 2, 0, 0]] * 2, np.int32), category_ids={1: CAT, 2: DOG}
    )
    ids = [[1, 1, 1, 2, 3, 3, 4, 4]] * 2
    segments = [
        make_segment(id=1, category_id=CAT, predicted_iou=0.9, score=0.8),  # IoU 3/4, right
        make_segment(id=2, category_id=CAT, predicted_iou=0.7, score=0.6),  # IoU 1/4, matches none
        make_segment(id=3, category_id=CAT, predicted_iou=0.5, score=0.4),  # IoU 1, is a dog
        make_segment(id=4, category_id=DOG, predicted_iou=0.3, score=0.2),  # on void: left out
    ]
    prediction = PanopticAnnotation(
        ids=np.array(ids, np.int32), category_ids={s.id: s.category_id for s in segments}
    )
    curves = measure_reliability(
        overlap_segments(truth, prediction), make_panoptic(ids, segments), [0.99, 0.65, 0.45, 0.2]
    )
    assert curves == {
        PREDICTED_IOU: curve([0.9, 0.7, 0.5], [0.75, 0.25, 1.0]),
        CLASS_SCORE: curve([0.99, 0.45], [1, 0]),
        SCORE: curve([0.8, 0.6, 0.4], [1, 0, 0]),
    }


def test_an_image_without_predictions_claims_nothing() -> None:
    truth = PanopticAnnotation(ids=np.ones((2, 2), np.int32), category_ids={1: CAT})
    nothing = PanopticAnnotation(ids=np.zeros((2, 2), np.int32), category_ids={})
    curves = measure_reliability(
        overlap_segments(truth, nothing), make_panoptic([[0, 0], [0, 0]], []), []
    )
    assert set(curves.values()) == {Reliability()}
