"""Tests of pipelines.stats.drift."""

import math

import pytest

from pipelines.stats import Statistics, population_stability_index
from pipelines.stats.statistics import SegmentClass, SegmentFigures


def statistics(counts: dict[tuple[str, str], int], bands: dict[int, int]) -> Statistics:
    """Segments by class name and size, and by tenth of score."""
    return Statistics(
        segments={
            (SegmentClass(id=ord(name[0]), name=name, is_thing=True), size): SegmentFigures(
                num_segments=number
            )
            for (name, size), number in counts.items()
        },
        score_bands={band: SegmentFigures(num_segments=n) for band, n in bands.items()},
    )


def test_a_run_has_not_drifted_from_itself() -> None:
    run = statistics({("cat", "small"): 30, ("dog", "large"): 70}, {3: 30, 9: 70})
    drift = population_stability_index(run, run)
    assert (drift.classes, drift.sizes, drift.scores, drift.worst) == (0.0, 0.0, 0.0, 0.0)


def test_each_index_sums_the_differences_of_shares_times_their_log_ratio() -> None:
    reference = statistics({("cat", "small"): 24, ("dog", "small"): 74}, {9: 98})
    current = statistics({("cat", "small"): 74, ("dog", "small"): 24}, {9: 98})
    drift = population_stability_index(reference, current)
    # With a half added to each count: 24.5 and 74.5 of 99.
    expected = 2 * (50 / 99) * math.log(74.5 / 24.5)
    assert drift.classes == pytest.approx(expected)
    assert (drift.sizes, drift.scores) == (0.0, 0.0)
    assert drift.worst == drift.classes


def test_the_order_of_the_runs_does_not_matter_to_the_index() -> None:
    one = statistics({("cat", "small"): 24, ("dog", "medium"): 7}, {1: 20, 9: 11})
    other = statistics({("cat", "large"): 3, ("cow", "medium"): 9}, {2: 4, 9: 8})
    there, back = population_stability_index(one, other), population_stability_index(other, one)
    for name in ("classes", "sizes", "scores"):
        assert getattr(there, name) == pytest.approx(getattr(back, name))
        assert getattr(there, name) > 0


def test_the_classes_that_changed_most_come_first_and_new_ones_are_named() -> None:
    reference = statistics({("cat", "small"): 50, ("dog", "small"): 50}, {5: 100})
    current = statistics({("cat", "small"): 50, ("dog", "small"): 10, ("cow", "small"): 40}, {5: 1})
    shifts = population_stability_index(reference, current).shifts
    assert [shift.name for shift in shifts] == ["cow", "dog", "cat"]
    assert shifts[0].reference_share == pytest.approx(0.5 / 101.5)
    assert shifts[0].current_share == pytest.approx(40.5 / 101.5)
    assert shifts[2].contribution == 0.0


def test_classes_are_compared_by_name_whatever_their_ids() -> None:
    one = statistics({("cat", "small"): 5}, {5: 5})
    renumbered = Statistics(
        segments={
            (SegmentClass(id=7, name="cat", is_thing=True), "small"): SegmentFigures(num_segments=5)
        },
        score_bands=one.score_bands,
    )
    assert population_stability_index(one, renumbered).worst == 0.0


def test_json_holds_the_indices_and_the_worst_of_them() -> None:
    run = statistics({("cat", "small"): 5}, {5: 5})
    content = population_stability_index(run, run).to_json()
    assert content["worst"] == 0.0
    assert content["shifts"][0]["name"] == "cat"
