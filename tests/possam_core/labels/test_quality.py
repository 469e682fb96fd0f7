from pathlib import Path

import pytest

from possam_core.checkpoints.models import promised_grades
from possam_core.labels.quality import EXPECTED_PQ, GRADES, Quality, assess
from possam_core.labels.segmentation import Expectation, PanopticSegmentation
from tests.factories import make_panoptic, make_segment


def graded(segmentation: PanopticSegmentation) -> Quality:
    return assess(segmentation, boundary_sharpness=0.5)


def test_means_weigh_each_segment_by_its_area() -> None:
    big = make_segment(id=1, area_px=3, score=0.9, predicted_iou=0.8, entropy=0.0)
    small = make_segment(
        id=2, area_px=1, score=0.5, predicted_iou=0.4, entropy=0.8, clip_agrees=False
    )
    quality = graded(make_panoptic([[1, 1], [1, 2]], [big, small]))
    assert quality.mean_score == pytest.approx(0.8)
    assert quality.min_score == 0.5
    assert quality.mean_predicted_iou == pytest.approx(0.7)
    assert quality.entropy == pytest.approx(0.2)
    assert quality.clip_agreement == 0.75


def test_coverage_and_void_share_the_image() -> None:
    quality = graded(make_panoptic([[1, 0], [0, 0]], [make_segment(area_px=1)]))
    assert (quality.coverage, quality.void_frac) == (0.25, 0.75)


def test_things_and_stuff_are_counted_apart() -> None:
    segments = [make_segment(id=1), make_segment(id=2), make_segment(id=3, is_thing=False)]
    quality = graded(make_panoptic([[1, 2], [3, 3]], segments))
    assert (quality.num_things, quality.num_stuff) == (2, 1)


def test_a_confident_full_image_is_grade_a_without_reasons() -> None:
    quality = graded(make_panoptic())
    assert (quality.grade, quality.reasons) == ("A", ())


@pytest.mark.parametrize(("score", "grade"), [(0.7, "A"), (0.6, "B"), (0.4, "C"), (0.1, "D")])
def test_a_lower_score_gives_a_lower_grade_and_says_so(score: float, grade: str) -> None:
    quality = graded(make_panoptic(segments=[make_segment(score=score)]))
    assert quality.grade == grade
    assert quality.reasons == (() if grade == "A" else ("low_score",))


def test_the_worst_measure_decides_the_grade() -> None:
    segment = make_segment(area_px=3, score=0.6, clip_agrees=False)
    quality = graded(make_panoptic([[1, 1], [1, 0]], [segment]))
    assert quality.grade == "D"
    assert quality.reasons == ("much_void", "low_score", "clip_disagrees")


def test_an_image_without_segments_is_grade_d_and_all_void() -> None:
    quality = graded(make_panoptic([[0, 0], [0, 0]], []))
    assert (quality.grade, quality.reasons) == ("D", ("no_segments",))
    assert (quality.void_frac, quality.mean_score) == (1.0, 0.0)
    assert (quality.mean_predicted_iou, quality.entropy, quality.clip_agreement) == (None,) * 3


def test_sharpness_and_consistency_are_told_and_change_no_grade() -> None:
    quality = assess(make_panoptic(), boundary_sharpness=0.1, consistency=0.2)
    assert (quality.boundary_sharpness, quality.consistency) == (0.1, 0.2)
    assert (quality.grade, quality.reasons) == ("A", ())
    assert graded(make_panoptic()).consistency is None


def test_the_documentation_holds_the_promise_of_each_grade() -> None:
    promised = promised_grades("possam-tiny") or {g: {"pq": pq} for g, pq in EXPECTED_PQ.items()}
    text = (Path(__file__).parents[3] / "docs/statistics.md").read_text(encoding="utf-8")
    lines = [line.split("|") for line in text.splitlines()]
    documented = {c[1].strip(): float(c[3]) for c in lines if len(c) > 5 and c[1].strip() in GRADES}
    expected = {g: pytest.approx(100 * record["pq"], abs=0.05) for g, record in promised.items()}
    assert documented == expected


def test_a_better_grade_promises_a_better_panoptic_quality() -> None:
    promised = [EXPECTED_PQ[grade] for grade in GRADES]
    assert promised == sorted(promised, reverse=True)
    assert len(set(promised)) == len(GRADES)


@pytest.mark.parametrize(
    ("pq", "grade"), [(0.9, "A"), (0.6, "A"), (0.59, "B"), (0.45, "B"), (0.3, "C"), (0.29, "D")]
)
def test_the_labels_of_a_calibrated_model_are_graded_by_the_quality_to_expect(
    pq: float, grade: str
) -> None:
    expected = Expectation(pq=pq, low=("coverage", "mean_score"))
    labels = make_panoptic(segments=[make_segment(score=0.1)])
    quality = graded(labels.with_figures(labels.segments, expected))
    assert quality.grade == grade
    assert quality.reasons == (() if grade == "A" else ("much_void", "low_score"))


UNKNOWN = {"predicted_iou": None, "margin": None, "entropy": None, "clip_agrees": None}


def test_what_the_model_does_not_know_of_any_segment_is_not_known_of_the_image() -> None:
    quality = graded(make_panoptic(segments=[make_segment(score=0.6, **UNKNOWN)]))
    assert (quality.mean_predicted_iou, quality.entropy, quality.clip_agreement) == (None,) * 3
    assert quality.mean_score == pytest.approx(0.6)


def test_means_are_over_the_segments_for_which_the_measure_is_known() -> None:
    known = make_segment(id=1, area_px=1, predicted_iou=0.8, entropy=0.5, clip_agrees=True)
    unknown = make_segment(id=2, area_px=3, **UNKNOWN)
    quality = graded(make_panoptic([[1, 2], [2, 2]], [known, unknown]))
    measured = (quality.mean_predicted_iou, quality.entropy, quality.clip_agreement)
    assert measured == (pytest.approx(0.8), 0.5, 1.0)


def test_an_unknown_measure_neither_lowers_the_grade_nor_is_a_reason() -> None:
    """Known and low, both measures would make it D."""
    sure = make_segment(score=0.9, **UNKNOWN)
    assert graded(make_panoptic(segments=[sure])).grade == "A"
    unsure = graded(make_panoptic(segments=[make_segment(score=0.5, **UNKNOWN)]))
    assert (unsure.grade, unsure.reasons) == ("C", ("low_score",))
    disagreeing = make_segment(score=0.9, predicted_iou=0.1, clip_agrees=False)
    known = graded(make_panoptic(segments=[disagreeing]))
    assert (known.grade, known.reasons) == ("D", ("low_predicted_iou", "clip_disagrees"))
