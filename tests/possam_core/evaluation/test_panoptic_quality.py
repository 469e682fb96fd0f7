"""Tests of possam_core.evaluation.panoptic_quality against panopticapi's definition."""

import numpy as np
import pytest
from numpy import ndarray

from possam_core.errors import PossamError
from possam_core.evaluation.panoptic_quality import (
    CategoryCounts,
    PanopticAnnotation,
    PanopticQualityCounts,
    TrueCategory,
    category_groups,
    count_matches,
    summarise,
)
from possam_core.playground import PLAYGROUND, generate_scene

SCENES = 200


def annotation(
    ids: list[list[int]] | ndarray, categories: dict[int, int], crowds: tuple[int, ...] = ()
) -> PanopticAnnotation:
    return PanopticAnnotation(
        ids=np.array(ids, np.int32), category_ids=categories, crowd_ids=frozenset(crowds)
    )


def count_slowly(truth: PanopticAnnotation, guess: PanopticAnnotation) -> dict[int, list[float]]:
    """panopticapi's algorithm in loops: category id -> [tp, fp, fn, iou sum]."""
    shared: dict[tuple[int, int], int] = {}
    for true_id, guessed_id in zip(
        truth.ids.ravel().tolist(), guess.ids.ravel().tolist(), strict=True
    ):
        shared[true_id, guessed_id] = shared.get((true_id, guessed_id), 0) + 1
    area_true = {i: int((truth.ids == i).sum()) for i in truth.category_ids}
    area_guessed = {i: int((guess.ids == i).sum()) for i in guess.category_ids}
    stat: dict[int, list[float]] = {}
    matched_true, matched_guessed = set(), set()
    for (t, g), intersection in shared.items():
        if t not in truth.category_ids or g not in guess.category_ids or t in truth.crowd_ids:
            continue
        category = truth.category_ids[t]
        if category != guess.category_ids[g]:
            continue
        union = area_guessed[g] + area_true[t] - intersection - shared.get((0, g), 0)
        if intersection / union > 0.5:
            row = stat.setdefault(category, [0, 0, 0, 0.0])
            row[0] += 1
            row[3] += intersection / union
            matched_true.add(t)
            matched_guessed.add(g)
    crowd_of_category = {}
    for t, category in truth.category_ids.items():
        if t in matched_true:
            continue
        if t in truth.crowd_ids:
            crowd_of_category[category] = t
            continue
        stat.setdefault(category, [0, 0, 0, 0.0])[2] += 1
    for g, category in guess.category_ids.items():
        if g in matched_guessed:
            continue
        ignored = shared.get((0, g), 0)
        if category in crowd_of_category:
            ignored += shared.get((crowd_of_category[category], g), 0)
        if ignored / area_guessed[g] > 0.5:
            continue
        stat.setdefault(category, [0, 0, 0, 0.0])[1] += 1
    return stat


def random_pair(seed: int) -> tuple[PanopticAnnotation, PanopticAnnotation]:
    """A true map with void and crowds, and a copy of it that is shifted, split and renamed."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(6, 30, 2)
    ids = np.zeros((height, width), np.int64)
    for i in range(1, int(rng.integers(2, 10))):
        y, x = rng.integers(height), rng.integers(width)
        h, w = rng.integers(2, height + 1), rng.integers(2, width + 1)
        ids[y : y + h, x : x + w] = i * int(rng.choice([1, 7, 66_000]))
    guess = np.roll(ids, rng.integers(0, 3, 2), (0, 1))
    guess[rng.random(guess.shape) < 0.1] = 0
    guess[: rng.integers(height)] *= 2  # splits and renames
    truth_names = [i for i in np.unique(ids).tolist() if i]
    guess_names = [i for i in np.unique(guess).tolist() if i]
    category_of = {i: int(rng.integers(1, 4)) for i in {*truth_names, *guess_names}}
    for i in guess_names:
        if i % 2 == 0 and i // 2 in category_of and rng.random() < 0.7:
            category_of[i] = category_of[i // 2]
    crowds = tuple(i for i in truth_names if rng.random() < 0.2)
    return (
        annotation(ids, {i: category_of[i] for i in truth_names}, crowds),
        annotation(guess, {i: category_of[i] for i in guess_names}),
    )


def disturbed_scene(index: int) -> tuple[PanopticAnnotation, PanopticAnnotation]:
    """A playground scene with crowds and void, and a guess: moved, split, merged, misnamed."""
    scene, rng = generate_scene(11, index), np.random.default_rng(index)
    names = [c.category_id for c in PLAYGROUND.vocabulary.classes]
    category_of = {i: names[c] for i, c in enumerate(scene.class_indices, start=1)}
    ids = scene.ids[::2, ::2].copy()  # the loops are slow
    guess = np.roll(ids, rng.integers(-3, 4, 2), (0, 1))
    num_segments = len(category_of)
    guess_category = dict(category_of)
    for i in category_of:
        chance = rng.random()
        if chance < 0.15:  # split in two
            half = (guess == i) & (np.arange(guess.shape[1]) < rng.integers(guess.shape[1]))
            guess[half] = num_segments + i
            guess_category[num_segments + i] = category_of[i]
        elif chance < 0.25:
            guess[guess == i] = int(rng.integers(0, num_segments + 1))
        elif chance < 0.4:
            guess_category[i] = int(rng.choice(list(category_of.values())))
    y, x = rng.integers(0, ids.shape[0]), rng.integers(0, ids.shape[1])
    ids[y : y + 30, x : x + 30] = 0  # void
    present = {i: c for i, c in category_of.items() if (ids == i).any()}
    crowds = tuple(i for i in present if rng.random() < 0.2)
    guess_category = {i: c for i, c in guess_category.items() if (guess == i).any()}
    return annotation(ids, present, crowds), annotation(guess, guess_category)


def as_rows(counts: PanopticQualityCounts) -> dict[int, list[float]]:
    return {i: [c.tp, c.fp, c.fn, c.iou_sum] for i, c in counts.per_category.items()}


def test_counts_equal_panopticapis_on_random_maps_with_void_and_crowds():
    totals = np.zeros(3)
    for seed in range(SCENES):
        truth, guess = random_pair(seed)
        counted, expected = as_rows(count_matches(truth, guess)), count_slowly(truth, guess)
        assert counted.keys() == expected.keys()
        for category_id, row in expected.items():
            assert counted[category_id] == pytest.approx(row, abs=1e-12)
            totals += row[:3]
    assert totals.min() > SCENES / 4  # otherwise the scenes would not test the rules


def test_figures_equal_panopticapis_on_a_hundred_scenes_with_void_and_crowds():
    totals = PanopticQualityCounts()
    expected: dict[int, list[float]] = {}
    for index in range(100):
        truth, guess = disturbed_scene(index)
        counts, slow = count_matches(truth, guess), count_slowly(truth, guess)
        assert as_rows(counts) == {i: pytest.approx(row, abs=1e-12) for i, row in slow.items()}
        totals += counts
        for category_id, row in slow.items():
            so_far = expected.setdefault(category_id, [0, 0, 0, 0.0])
            expected[category_id] = [a + b for a, b in zip(so_far, row, strict=True)]
    assert min(sum(row[k] for row in expected.values()) for k in range(3)) > 50
    of_class = {  # PQ, SQ and RQ as panopticapi averages them
        i: (iou / (tp + (fp + fn) / 2), iou / tp if tp else 0, tp / (tp + (fp + fn) / 2))
        for i, (tp, fp, fn, iou) in expected.items()
    }
    quality = summarise(totals, {"all": of_class})["all"]
    means = [sum(column) / len(of_class) for column in zip(*of_class.values(), strict=True)]
    assert (quality.pq, quality.sq, quality.rq) == pytest.approx(means, abs=1e-12)


def test_a_perfect_prediction_scores_one():
    truth = annotation([[1, 1, 2, 2]] * 4, {1: 10, 2: 20})
    counts = count_matches(truth, annotation([[5, 5, 9, 9]] * 4, {5: 10, 9: 20}))
    assert as_rows(counts) == {10: [1, 0, 0, 1.0], 20: [1, 0, 0, 1.0]}


def test_an_overlap_of_exactly_half_is_no_match():
    truth = annotation([[1, 1, 2, 2]] * 4, {1: 10, 2: 20})
    guess = annotation([[1, 2, 2, 2]] * 4, {1: 10, 2: 20})  # IoU 4/8 and 8/12
    assert as_rows(count_matches(truth, guess)) == {10: [0, 1, 1, 0.0], 20: [1, 0, 0, 8 / 12]}


def test_void_pixels_do_not_count_against_a_prediction():
    truth = annotation([[1, 1, 0, 0]] * 4, {1: 10})
    assert as_rows(count_matches(truth, annotation([[1] * 4] * 4, {1: 10}))) == {10: [1, 0, 0, 1.0]}


def test_an_unmatched_prediction_is_ignored_only_when_more_than_half_lies_on_void():
    truth = annotation([[0, 0, 1, 1]] * 4, {1: 10})
    half = annotation([[0, 3, 3, 0]] * 4, {3: 20})
    most = annotation([[3, 3, 3, 0]] * 4, {3: 20})
    assert as_rows(count_matches(truth, half)) == {10: [0, 0, 1, 0.0], 20: [0, 1, 0, 0.0]}
    assert as_rows(count_matches(truth, most)) == {10: [0, 0, 1, 0.0]}


def test_a_crowd_is_never_matched_or_missed_and_ignores_only_its_own_category():
    truth = annotation([[1, 1, 1, 1]] * 4, {1: 10}, crowds=(1,))
    guess = annotation([[5, 5, 6, 6]] * 4, {5: 10, 6: 20})
    assert as_rows(count_matches(truth, guess)) == {20: [0, 1, 0, 0.0]}


def test_the_wrong_category_costs_a_miss_and_a_false_positive():
    counts = count_matches(annotation([[1] * 4] * 4, {1: 10}), annotation([[1] * 4] * 4, {1: 20}))
    assert as_rows(counts) == {10: [0, 0, 1, 0.0], 20: [0, 1, 0, 0.0]}


def test_an_empty_prediction_misses_everything():
    truth = annotation([[1, 1, 2, 2]] * 4, {1: 10, 2: 10})
    assert as_rows(count_matches(truth, annotation([[0] * 4] * 4, {}))) == {10: [0, 0, 2, 0.0]}


def test_counts_of_images_add_up():
    first = PanopticQualityCounts(per_category={1: CategoryCounts(tp=1, iou_sum=0.8)})
    second = PanopticQualityCounts(
        per_category={1: CategoryCounts(fp=2, tp=1, iou_sum=0.6), 2: CategoryCounts(fn=3)}
    )
    merged = as_rows(first + second)
    assert merged == {1: [2, 2, 0, pytest.approx(1.4)], 2: [0, 0, 3, 0.0]}
    assert as_rows(first) == {1: [1, 0, 0, 0.8]}


def test_summarise_averages_over_the_categories_of_a_group_that_occur():
    counts = PanopticQualityCounts(
        per_category={1: CategoryCounts(tp=1, fp=1, fn=1, iou_sum=0.8), 2: CategoryCounts(fn=1)}
    )
    groups = {"all": {1, 2, 3}, "one": {1}, "none": {3}}
    quality = summarise(counts, groups)
    assert (quality["one"].pq, quality["one"].sq, quality["one"].rq) == pytest.approx(
        (0.4, 0.8, 0.5)
    )
    assert (quality["all"].pq, quality["all"].num_classes) == (pytest.approx(0.2), 2)
    assert (quality["none"].pq, quality["none"].num_classes) == (0.0, 0)


def test_category_groups_name_seen_and_unseen_only_where_known_for_every_category():
    cat, sky = (
        TrueCategory(id=1, name="cat", is_thing=True),
        TrueCategory(id=2, name="sky", is_thing=False),
    )
    assert category_groups([cat, sky]) == {"all": {1, 2}, "things": {1}, "stuff": {2}}
    groups = category_groups(
        [
            TrueCategory(id=1, name="cat", is_thing=True, is_seen=True),
            TrueCategory(id=2, name="sky", is_thing=False, is_seen=False),
        ]
    )
    assert (groups["seen"], groups["unseen"]) == ({1}, {2})


@pytest.mark.parametrize(
    ("truth", "guess", "message"),
    [
        (annotation([[1, 1]], {1: 1}), annotation([[1]], {1: 1}), "one shape"),
        (annotation([[1, 2]], {1: 1}), annotation([[1, 1]], {1: 1}), r"needs a category; \[2\]"),
        (annotation([[1, 1]], {1: 1}), annotation([[1, 1]], {1: 1, 4: 1}), "claim a pixel"),
        (annotation([[1, 1]], {1: 1}), annotation([[-1, 1]], {1: 1}), "must be positive"),
    ],
)
def test_maps_that_break_the_rules_are_refused(truth, guess, message):
    with pytest.raises(PossamError, match=message):
        count_matches(truth, guess)
