"""Masks of 4 x 4 pixels, worked out by hand; the canvas is the image, so nothing is resized."""

import numpy as np
import pytest
import torch
from numpy import ndarray
from pycocotools import mask as coco_mask

from possam_core.labels.frame import Frame
from possam_core.labels.instances import Instance, find_instances, label_pixels
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass

VOCABULARY = Vocabulary(
    name="toy",
    classes=(
        VocabularyClass(category_id=10, name="ball", is_thing=True),
        VocabularyClass(category_id=20, name="grass", is_thing=False),
        VocabularyClass(category_id=30, name="cat", is_thing=True),
    ),
)
FRAME = Frame(canvas_hw=(4, 4), resized_hw=(4, 4), image_hw=(4, 4))
HALF = float(torch.tensor(0.5).logit())
P8, P6 = (float(torch.tensor(p).logit()) for p in (0.8, 0.6))


def columns(*logits: float) -> ndarray:
    return np.array([logits] * 4)


def make_masks(
    logits: list[ndarray],
    probs: list[tuple[float, float, float]],
    *,
    iou: list[float] | None = None,
    void: list[float] | None = None,
) -> ScoredMasks:
    return ScoredMasks(
        mask_logits=torch.tensor(np.stack(logits)).float(),
        class_probs=torch.tensor(probs),
        void_probs=torch.tensor(void or [0.0] * len(logits)),
        iou_scores=torch.tensor(iou or [1.0] * len(logits)),
        clip_agrees=torch.ones(len(logits), dtype=torch.bool),
    )


def pixels(instance: Instance) -> list[list[int]]:
    decoded: list[list[int]] = coco_mask.decode({"size": [4, 4], "counts": instance.rle}).tolist()
    return decoded


def test_an_instance_scores_class_times_iou_times_mean_probability_inside() -> None:
    masks = make_masks([columns(P8, P6, -5, -5)], [(0.5, 0.3, 0.2)], iou=[0.5], void=[0.2])
    ball, cat = find_instances(masks, VOCABULARY, eta=1.0, frame=FRAME)
    assert (ball.category_id, cat.category_id) == (10, 30)  # grass is no thing
    assert ball.score == pytest.approx(0.5 * 0.8 * 0.5 * 0.7)
    assert cat.score == pytest.approx(0.2 * 0.8 * 0.5 * 0.7)
    assert pixels(ball) == pixels(cat) == [[1, 1, 0, 0]] * 4


def test_eta_zero_leaves_the_predicted_iou_out() -> None:
    masks = make_masks([columns(P8, P8, -5, -5)], [(1.0, 0.0, 0.0)], iou=[0.5])
    assert find_instances(masks, VOCABULARY, eta=0.0, frame=FRAME)[0].score == pytest.approx(0.8)


def test_the_best_pairs_of_mask_and_class_are_kept_best_first() -> None:
    left, right = columns(9, 9, -9, -9), columns(-9, -9, 9, 9)
    masks = make_masks([left, right], [(0.5, 0.1, 0.4), (0.0, 0.1, 0.9)])
    found = find_instances(masks, VOCABULARY, eta=1.0, frame=FRAME, limit=3)
    assert [(i.category_id, pixels(i)[0]) for i in found] == [
        (30, [0, 0, 1, 1]),
        (10, [1, 1, 0, 0]),
        (30, [1, 1, 0, 0]),
    ]


def test_a_mask_without_a_pixel_is_no_instance() -> None:
    masks = make_masks([columns(HALF, -1, -1, -1)], [(1.0, 0.0, 0.0)])
    assert find_instances(masks, VOCABULARY, eta=1.0, frame=FRAME) == ()


def test_instances_lie_on_the_image_and_not_on_the_padding() -> None:
    masks = make_masks([np.array([[9.0] * 4] * 2 + [[-9.0] * 4] * 2)], [(1.0, 0.0, 0.0)])
    frame = Frame(canvas_hw=(4, 4), resized_hw=(2, 4), image_hw=(6, 12))
    (ball,) = find_instances(masks, VOCABULARY, eta=1.0, frame=frame, limit=1)
    area = coco_mask.area({"size": [6, 12], "counts": ball.rle})
    assert area >= 60  # all but the soft edge beside the padding


def test_each_pixel_gets_the_class_of_the_largest_sum_over_masks() -> None:
    everywhere = columns(P6, P6, P6, P6)
    masks = make_masks(
        [everywhere, columns(P8, P8, -9, -9)], [(0.1, 0.9, 0.0), (1.0, 0.0, 0.0)], void=[0.0, 0.5]
    )
    # left: ball 0.1 * 0.6 + 0.5 * 0.8 = 0.46 < grass 0.9 * 0.6 = 0.54
    assert label_pixels(masks, frame=FRAME).tolist() == [[1, 1, 1, 1]] * 4
    sure = make_masks([everywhere, columns(P8, P8, -9, -9)], [(0.1, 0.9, 0.0), (1.0, 0.0, 0.0)])
    assert label_pixels(sure, frame=FRAME).tolist() == [[0, 0, 1, 1]] * 4


def test_more_masks_than_fit_at_once_give_the_same_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(4, 4, generator=generator).numpy() for _ in range(5)]
    masks = make_masks(
        logits, [(0.2, 0.5, 0.3), (0.7, 0.2, 0.1), (0.1, 0.1, 0.8)] + [(1, 0, 0)] * 2
    )
    labels = label_pixels(masks, frame=FRAME)
    instances = find_instances(masks, VOCABULARY, eta=1.0, frame=FRAME)
    monkeypatch.setattr("possam_core.labels.instances.QUERIES_AT_ONCE", 2)
    np.testing.assert_array_equal(label_pixels(masks, frame=FRAME), labels)
    assert find_instances(masks, VOCABULARY, eta=1.0, frame=FRAME) == instances
