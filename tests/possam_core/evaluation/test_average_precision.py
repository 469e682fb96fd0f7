"""Things of a 4 x 10 image, worked out by hand."""

import itertools
import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from benchmarks.average_precision import by_pycocotools, make_images
from possam_core.evaluation.average_precision import (
    ImageInstances,
    average_precision,
    image_instances,
)
from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.labels.instances import Instance

CAT, DOG, SKY = 1, 2, 3
THINGS = frozenset({CAT, DOG})


def found(category_id: int, start: int, stop: int, *, score: float = 0.9) -> Instance:
    """A thing that fills some columns."""
    mask = np.zeros((4, 10), np.uint8, order="F")
    mask[:, start:stop] = 1
    return Instance(
        category_id=category_id, score=score, rle=coco_mask.encode(mask)["counts"].decode()
    )


def image(*instances: Instance, index: int = 0, crowds: tuple[int, ...] = ()) -> ImageInstances:
    """A cat on columns 0 to 4, another on 5 and 6, sky on the rest."""
    ids = np.array([[1] * 5 + [2] * 2 + [3] * 3] * 4, np.int32)
    truth = PanopticAnnotation(
        ids=ids, category_ids={1: CAT, 2: CAT, 3: SKY}, crowd_ids=frozenset(crowds)
    )
    return image_instances(index, truth, instances, THINGS)


def ap(*images: ImageInstances) -> float | None:
    return average_precision(images, sorted(THINGS)).ap


def test_perfect_detections_have_an_ap_of_one() -> None:
    measured = average_precision([image(found(CAT, 0, 5), found(CAT, 5, 7))], sorted(THINGS))
    assert (measured.ap, measured.ap50, measured.ap75) == (1.0, 1.0, 1.0)
    assert (measured.small, measured.medium, measured.large) == (1.0, None, None)
    assert measured.per_category == {CAT: 1.0}  # no dog is true anywhere


def test_half_the_recall_reaches_51_of_101_points() -> None:
    assert ap(image(found(CAT, 0, 5))) == pytest.approx(51 / 101)


def test_an_iou_of_six_tenths_counts_at_three_of_ten_thresholds() -> None:
    measured = average_precision([image(found(CAT, 0, 3), crowds=(2,))], sorted(THINGS))
    assert measured.ap == pytest.approx(0.3)
    assert (measured.ap50, measured.ap75) == (pytest.approx(1.0), 0.0)


def test_a_false_positive_of_higher_score_halves_the_precision() -> None:
    wrong = found(CAT, 7, 10, score=0.95)
    assert ap(image(wrong, found(CAT, 0, 5), crowds=(2,))) == pytest.approx(0.5)


def test_a_detection_of_a_crowd_is_ignored() -> None:
    in_crowd = found(CAT, 5, 7, score=0.95)
    assert ap(image(in_crowd, found(CAT, 0, 5), crowds=(2,))) == pytest.approx(1.0)


def test_a_wrong_class_matches_nothing_and_stuff_is_no_thing() -> None:
    assert ap(image(found(DOG, 0, 5), found(DOG, 5, 7))) == 0.0
    assert [t.category_id for t in image().truth] == [CAT, CAT]


def test_without_any_truth_there_is_no_figure() -> None:
    void = PanopticAnnotation(ids=np.zeros((4, 10), np.int32), category_ids={})
    assert ap(image_instances(0, void, [found(CAT, 0, 5)], THINGS)) is None
    assert ap() is None


def test_the_order_of_images_changes_nothing_even_among_equal_scores() -> None:
    images = [
        image(found(CAT, 0, 5), found(CAT, 7, 9), index=0),
        image(found(CAT, 8, 9), found(CAT, 5, 7, score=0.4), index=1),
        image(found(CAT, 0, 4), found(DOG, 0, 5), index=2),
    ]
    figures = {ap(*order) for order in itertools.permutations(images)}
    assert len(figures) == 1


def test_an_image_survives_json_unchanged() -> None:
    one = image(found(CAT, 0, 5), found(DOG, 5, 7, score=0.1 + 0.2), index=7, crowds=(2,))
    assert ImageInstances.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize("num_categories", [1, 3, 40])
def test_every_figure_is_that_of_pycocotools_to_the_last_bit(num_categories: int) -> None:
    images, category_ids = (
        make_images(9, num_categories, seed=num_categories),
        range(1, num_categories + 1),
    )
    measured = average_precision(images, category_ids)
    precision = by_pycocotools(images, category_ids)  # (T, R, K, A)

    def mean(part: np.ndarray) -> float | None:
        return float(np.mean(part[part > -1])) if (part > -1).any() else None

    every = precision[..., 0]
    assert measured.ap == mean(every)
    assert (measured.ap50, measured.ap75) == (mean(every[0]), mean(every[5]))
    by_area = [mean(precision[..., i]) for i in (1, 2, 3)]
    assert [measured.small, measured.medium, measured.large] == by_area
    of_each = {c: mean(every[..., i]) for i, c in enumerate(category_ids)}
    assert measured.per_category == {c: ap for c, ap in of_each.items() if ap is not None}
