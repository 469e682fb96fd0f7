"""Two masks of 4 x 4 pixels, worked out by hand."""

import math

import numpy as np
import pytest
import torch

from possam_core.errors import ConfigError
from possam_core.labels.calibration import (
    CalibrationConfig,
    ExpectedPqConfig,
    LogitMap,
    calibrate,
    class_scores,
    expect_quality,
    tempered,
)
from possam_core.labels.frame import Frame
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.panoptic import Merged, merge_masks
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass
from tests.factories import make_segment

VOCABULARY = Vocabulary(
    name="toy",
    classes=(
        VocabularyClass(category_id=10, name="ball", is_thing=True),
        VocabularyClass(category_id=20, name="grass", is_thing=False),
    ),
)
EXPECTED_PQ = ExpectedPqConfig(
    intercept=-0.5,
    of_segments=1.0,
    of_coverage=0.5,
    of_few=2.0,
    usual_coverage=0.8,
    usual_score=0.6,
    usual_predicted_iou=0.7,
)


def merged() -> Merged:
    """A ball of probability 0.9 and IoU 0.8, and grass of 0.6 and IoU 0.5 that void takes half of.

    The grass comes first among the masks and last among the segments.
    """
    ball, grass = np.full((2, 4, 4), -10.0)
    ball[:, :2], grass[:, 2:] = 10.0, 10.0
    masks = ScoredMasks(
        mask_logits=torch.tensor(np.stack([grass, ball])).float(),
        class_probs=torch.tensor([[0.4, 0.6], [0.9, 0.1]]),
        void_probs=torch.tensor([0.5, 0.0]),
        iou_scores=torch.tensor([0.5, 0.8]),
        clip_agrees=torch.tensor([True, True]),
    )
    frame = Frame(canvas_hw=(4, 4), resized_hw=(4, 4), image_hw=(4, 4))
    return merge_masks(masks, VOCABULARY, MergeConfig(), is_seen=(True, True), frame=frame)


def test_segments_know_their_masks() -> None:
    assert [s.category_name for s in merged().segmentation.segments] == ["ball", "grass"]
    assert merged().query_of == {1: 1, 2: 0}


def test_without_calibration_nothing_changes_by_a_bit() -> None:
    made = merged()
    assert calibrate(made, CalibrationConfig(), eta=1.0) is made.segmentation
    assert class_scores(made, CalibrationConfig()).tolist() == pytest.approx([0.9, 0.6])


def test_only_reported_figures_depend_on_the_calibration() -> None:
    made = merged()
    config = CalibrationConfig(
        temperature=2.0, presence=LogitMap(scale=2.0, shift=1.0), iou=LogitMap(scale=0.5)
    )
    result = calibrate(made, config, eta=1.0)
    np.testing.assert_array_equal(result.ids, made.segmentation.ids)
    for after, before in zip(result.segments, made.segmentation.segments, strict=True):
        kept = ("id", "class_index", "area_px", "margin", "entropy", "stability_score")
        assert all(getattr(after, name) == getattr(before, name) for name in kept)
    ball, grass = result.segments
    assert ball.predicted_iou == pytest.approx(2 / 3)  # odds of 4 to 1, their root 2 to 1
    assert grass.predicted_iou == pytest.approx(0.5)
    # presence 0.8: odds 4 -> 16 e; 0.25: odds 1/3 -> e/9.  class 0.9: odds 9 -> 3; 0.6: 1.5 -> root
    odds = [16 * math.e, math.e / 9]
    of_class = [3 / 4, math.sqrt(1.5) / (1 + math.sqrt(1.5))]
    expected = [o / (1 + o) * c for o, c in zip(odds, of_class, strict=True)]
    assert [ball.score, grass.score] == pytest.approx(expected, rel=1e-5)
    assert result.expected is None


def test_eta_weighs_the_predicted_iou_as_in_the_merge() -> None:
    config = CalibrationConfig(presence=LogitMap(scale=1.0, shift=1e-9))  # all but nothing
    scores = {
        eta: [s.score for s in calibrate(merged(), config, eta=eta).segments] for eta in (0.0, 1.0)
    }
    assert scores[0.0] == pytest.approx([0.9, 0.5 * 0.6], rel=1e-5)
    assert scores[1.0] == pytest.approx([0.8 * 0.9, 0.5 * 0.5 * 0.6], rel=1e-5)


def test_a_temperature_keeps_the_best_class_and_the_sum() -> None:
    probs = torch.tensor([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])
    for temperature in (0.5, 2.0, 50.0):
        found = tempered(probs, temperature)
        assert found.argmax(dim=-1).tolist() == [0, 0]
        assert found.sum(dim=-1).tolist() == pytest.approx([1.0, 1.0])
    assert tempered(probs, 2.0)[0, 0] < 0.7 < tempered(probs, 0.5)[0, 0]


def test_the_expected_quality_follows_the_formula_and_names_what_is_low() -> None:
    segments = [
        make_segment(id=1, score=0.8, predicted_iou=0.9),
        make_segment(id=2, score=0.4, predicted_iou=0.7),
    ]
    found = expect_quality(segments, 0.5, EXPECTED_PQ)
    quality = (0.8 * 0.9 + 0.4 * 0.7) / 2  # 0.5: its logit is 0, as is that of the coverage
    assert quality == pytest.approx(0.5)
    assert found.pq == pytest.approx(1 / (1 + math.exp(0.5 + 2 / 2)))
    assert found.low == ("coverage",)  # the mean score is as usual, the mean IoU above it


def test_more_of_anything_never_promises_less() -> None:
    def expected(score: float, coverage: float, number: int = 1) -> float:
        segments = [make_segment(score=score, predicted_iou=0.9)] * number
        return expect_quality(segments, coverage, EXPECTED_PQ).pq

    assert expected(0.9, 0.9) > expected(0.5, 0.9) > expected(0.5, 0.5)
    assert expected(0.5, 0.5, 4) > expected(0.5, 0.5, 2) > expected(0.5, 0.5)
    assert 0 < expected(0.0, 0.0) < expected(1.0, 1.0, 9) < 1


def test_the_lowest_measure_is_named_where_none_is_below_the_usual() -> None:
    segments = [make_segment(score=0.65, predicted_iou=0.8)]
    assert expect_quality(segments, 0.9, EXPECTED_PQ).low == ("mean_score",)


def test_nothing_is_expected_of_an_image_without_segments() -> None:
    assert expect_quality([], 0.0, EXPECTED_PQ).pq == 0.0


def test_the_expectation_comes_with_the_calibrated_segmentation() -> None:
    result = calibrate(merged(), CalibrationConfig(expected_pq=EXPECTED_PQ), eta=1.0)
    assert result.expected == expect_quality(result.segments, 1.0, EXPECTED_PQ)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CalibrationConfig(temperature=0.0), "temperature must be more than 0"),
        (lambda: LogitMap(scale=-1.0), "scale must be more than 0"),
        (lambda: LogitMap(shift=math.nan), "shift must be a finite number"),
        (
            lambda: ExpectedPqConfig(
                intercept=0.0,
                of_segments=-1.0,
                of_coverage=0.0,
                of_few=0.0,
                usual_coverage=1.0,
                usual_score=1.0,
                usual_predicted_iou=1.0,
            ),
            "0 or more",
        ),
    ],
)
def test_settings_out_of_range_are_refused(make, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=words):
        make()
