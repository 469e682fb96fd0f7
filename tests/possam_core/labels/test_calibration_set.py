"""Tests of possam_core.labels.calibration_set: where grades promise something."""

import pytest

from possam_core.labels.calibration_set import (
    NEVER,
    CalibrationSet,
    SeenImages,
    other_images,
    other_vocabulary,
)
from possam_core.labels.quality import seen_measures
from tests.factories import make_panoptic, make_segment

IMAGES = [
    {"mean_score": 0.8, "coverage": 0.5, "num_segments": 3.0},
    {"mean_score": 0.6, "coverage": 1.0, "num_segments": 5.0},
]
SET = CalibrationSet.of(IMAGES * 50, vocabulary="street", vocabulary_sha256="12")


def seen(num_images: int = 100, **means: float) -> SeenImages:
    usual = {name: spread.mean for name, spread in SET.measures.items()}
    return SeenImages(num_images=num_images, means=usual | means)


def test_a_set_is_the_mean_and_deviation_of_each_measure_and_survives_json() -> None:
    assert SET.num_images == 100
    score = SET.measures["mean_score"]
    assert (score.mean, score.deviation) == pytest.approx((0.7, 0.1))
    assert (SET.measures["num_segments"].mean, SET.measures["num_segments"].deviation) == (4.0, 1.0)
    assert CalibrationSet.from_json(SET.to_json()) == SET


def test_the_measures_of_an_image_are_those_of_its_segments() -> None:
    half = make_panoptic(ids=((1, 0), (1, 0)), segments=(make_segment(area_px=2, score=0.25),))
    assert seen_measures(half) == {"mean_score": 0.25, "coverage": 0.5, "num_segments": 1.0}


def test_without_a_record_or_with_other_classes_nothing_is_calibrated() -> None:
    same = {"vocabulary": "street", "vocabulary_sha256": "12"}
    assert other_vocabulary(SET, **same) is None
    assert other_vocabulary(None, **same) == NEVER
    reason = other_vocabulary(SET, vocabulary="rooms", vocabulary_sha256="34")
    assert reason == "the model was calibrated with the classes of street, not with rooms"
    changed = other_vocabulary(SET, vocabulary="street", vocabulary_sha256="34")
    assert changed == "the model was calibrated with the classes of street, not with other classes"


# Far is more than 0.5 + 3 sqrt(1/100 + 1/100) = 0.924 deviations, of which one is 0.1.
@pytest.mark.parametrize(("score", "is_far"), [(0.7, False), (0.62, False), (0.6, True)])
def test_images_are_far_by_half_a_deviation_and_three_standard_errors(
    score: float, is_far: bool
) -> None:
    reason = other_images(SET, seen(mean_score=score))
    assert (reason is not None) == is_far
    if reason is not None:
        assert "mean score 0.60, there 0.70" in reason
        assert "coverage" not in reason


def test_few_images_must_differ_by_more_and_none_differ_in_nothing() -> None:
    # Of two images, 0.5 + 3 sqrt(1/2 + 1/100) = 2.64 deviations.
    assert other_images(SET, seen(num_images=2, num_segments=6.6)) is None
    assert other_images(SET, seen(num_images=2, num_segments=6.7)) is not None
    assert other_images(SET, SeenImages(num_images=0, means={})) is None
