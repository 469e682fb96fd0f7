"""Maps of 4 x 4 pixels, worked out by hand."""

import json

import numpy as np

from possam_core.evaluation.confusion import PairCounts, count_segment_pairs
from possam_core.evaluation.panoptic_quality import PanopticAnnotation, overlap_segments

CAT, DOG, SKY = 10, 20, 30


def annotation(
    row: list[int], categories: dict[int, int], crowds: tuple[int, ...] = ()
) -> PanopticAnnotation:
    """A map of four equal rows."""
    return PanopticAnnotation(
        ids=np.array([row] * 4, np.int32), category_ids=categories, crowd_ids=frozenset(crowds)
    )


def pairs(truth: PanopticAnnotation, guess: PanopticAnnotation) -> dict[object, int]:
    return dict(count_segment_pairs(overlap_segments(truth, guess)).counts)


def test_matching_segments_are_paired_whatever_their_classes() -> None:
    truth = annotation([1, 1, 2, 2], {1: CAT, 2: SKY})
    guess = annotation([5, 5, 6, 6], {5: DOG, 6: SKY})
    assert pairs(truth, guess) == {(CAT, DOG): 1, (SKY, SKY): 1}


def test_an_overlap_of_half_leaves_one_missed_and_one_spurious() -> None:
    truth = annotation([1, 1, 2, 2], {1: CAT, 2: SKY})
    guess = annotation([5, 6, 6, 6], {5: CAT, 6: SKY})  # IoU 1/2 and 2/3
    assert pairs(truth, guess) == {(CAT, None): 1, (None, CAT): 1, (SKY, SKY): 1}


def test_crowds_and_void_are_neither_missed_nor_spurious() -> None:
    truth = annotation([1, 1, 0, 0], {1: CAT}, crowds=(1,))
    guess = annotation([5, 6, 7, 7], {5: CAT, 6: DOG, 7: DOG})
    assert pairs(truth, guess) == {(None, DOG): 1}  # the one that takes cats for a dog


def test_counts_add_up_and_survive_json_unchanged() -> None:
    one = PairCounts(counts={(CAT, DOG): 1, (CAT, None): 2})
    other = PairCounts(counts={(CAT, DOG): 3, (None, SKY): 1})
    total = one + other
    assert total.counts == {(CAT, DOG): 4, (CAT, None): 2, (None, SKY): 1}
    assert PairCounts.from_json(json.loads(json.dumps(total.to_json()))) == total
