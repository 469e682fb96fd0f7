import pytest

from pipelines.stats import Statistics
from pipelines.stats.histogram import NUM_BINS, UNITS_IN_ONE, Histogram
from pipelines.stats.statistics import SegmentClass, SegmentFigures
from pipelines.stats.thresholds import Thresholds, mean_grade, shortfalls
from possam_core.errors import ConfigError


def scores(value: float, number: int) -> Histogram:
    """`number` images, all of one mean score."""
    counts = [0] * NUM_BINS
    counts[int(value * NUM_BINS)] = number
    return Histogram(counts=tuple(counts), sum_units=round(value * UNITS_IN_ONE) * number)


def make_statistics(**changes: object) -> Statistics:
    """Ten images: eight labelled, of mean score 0.5; half A, half D."""
    content = {
        "num_images": 10,
        "num_ok": 8,
        "errors": {"empty": 2},
        "grades": {"A": 4, "D": 4},
        "images": {"mean_score": scores(0.5, 8)},
    }
    return Statistics(**(content | changes))


def with_segments(**num_segments: int) -> Statistics:
    """Small segments of score 0.5, so many of each class."""
    segments = {
        (SegmentClass(id=i, name=name, is_thing=True), "small"): SegmentFigures(
            num_segments=number, measures={"score": scores(0.5, number)}
        )
        for i, (name, number) in enumerate(num_segments.items(), start=1)
    }
    total = SegmentFigures(num_segments=sum(num_segments.values()))
    return make_statistics(segments=segments, score_bands={5: total})


def test_without_thresholds_any_run_passes() -> None:
    assert shortfalls(Statistics(), Thresholds()) == []


@pytest.mark.parametrize(
    ("kept", "missed", "sentence"),
    [
        (
            Thresholds(max_error_share=0.2),
            Thresholds(max_error_share=0.19),
            "2 of 10 images failed (20.0%), allowed are 19.0%",
        ),
        (
            Thresholds(min_mean_score=0.5),
            Thresholds(min_mean_score=0.51),
            "the mean score is 0.5, at least 0.51 is wanted",
        ),
        (
            Thresholds(min_mean_grade=2.5),
            Thresholds(min_mean_grade=3),
            "the mean grade is 2.5, at least 3 is wanted",
        ),
    ],
)
def test_a_threshold_is_kept_up_to_its_value(
    kept: Thresholds, missed: Thresholds, sentence: str
) -> None:
    assert shortfalls(make_statistics(), kept) == []
    assert shortfalls(make_statistics(), missed) == [sentence]


def test_every_missed_threshold_has_its_sentence() -> None:
    nothing = make_statistics(num_ok=0, grades={}, images={})
    strict = Thresholds(max_error_share=0.5, min_mean_score=0.1, min_mean_grade=1)
    sentences = shortfalls(nothing, strict)
    assert len(sentences) == 3
    assert sentences[1].startswith("there is no mean score, for no image has labels")


def test_the_mean_grade_counts_an_a_as_4_and_a_d_as_1() -> None:
    assert mean_grade(make_statistics(grades={"A": 1, "B": 1, "C": 1, "D": 1})) == 2.5
    assert mean_grade(make_statistics(grades={})) is None


def test_classes_that_changed_places_are_drift_and_named() -> None:
    reference, current = with_segments(car=9000, cow=1000), with_segments(car=1000, cow=9000)
    # (0.8 ln 9) from each of the two classes.
    (sentence,) = shortfalls(current, Thresholds(), reference)
    assert sentence.startswith(
        "the classes drifted from the reference: index 3.51, allowed 0.25 (car 90.0% -> 10.0%"
    )
    assert shortfalls(current, Thresholds(max_drift=3.6), reference) == []
    assert shortfalls(reference, Thresholds(max_drift=0), reference) == []


def test_a_small_sample_may_differ_by_what_chance_does() -> None:
    even = {f"class{i}": 1000 for i in range(40)}
    sample = with_segments(**{name: 3 * (i % 2) for i, name in enumerate(even)})
    # 60 segments of 40 classes: their index is 0.73, and (39 + 2 sqrt 78) / 60 come of themselves.
    assert shortfalls(sample, Thresholds(), with_segments(**even)) == []
    large = with_segments(**{name: 3000 * (i % 2) for i, name in enumerate(even)})
    assert len(shortfalls(large, Thresholds(), with_segments(**even))) == 1


def test_thresholds_out_of_range_are_all_named_at_once() -> None:
    with pytest.raises(
        ConfigError, match=r"max_error_share must be .* min_mean_grade must be 1 to 4"
    ):
        Thresholds(max_error_share=1.1, min_mean_grade=5)
