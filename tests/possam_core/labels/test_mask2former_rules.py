"""The rules of Mask2Former against what FC-CLIP's own code gives for masks by formula.

`mask2former_rules.npz` holds its maps for the two sets of masks below: segments, a class for every
pixel, instances.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy import ndarray
from pycocotools import mask as coco_mask

from possam_core.labels.frame import Frame
from possam_core.labels.instances import find_instances, label_pixels
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.panoptic import merge
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass

REFERENCE = np.load(Path(__file__).parent / "mask2former_rules.npz")
FRAMES = (
    Frame(canvas_hw=(96, 160), resized_hw=(96, 132), image_hw=(70, 96)),
    Frame(canvas_hw=(160, 96), resized_hw=(160, 67), image_hw=(240, 101)),
)
NUM_MASKS, SEEDS = (14, 24), (3, 4)
VOCABULARY = Vocabulary(
    name="twelve",
    classes=tuple(
        VocabularyClass(category_id=i + 1, name=f"class {i}", is_thing=i < 6) for i in range(12)
    ),
)
FC_CLIP = MergeConfig(rules="mask2former", object_threshold=0.0, overlap_threshold=0.8, eta=0.0)


def uniform(name: str, count: int, seed: int) -> ndarray:
    """Multiples of 2^-23 in [-1, 1): the top 24 bits of Philox, keyed by seed and name."""
    key = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16], "little")
    raw = np.random.Philox(key=key).random_raw(count)
    return (raw >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0


def ellipses(num_masks: int, grid_hw: tuple[int, int], seed: int) -> ndarray:
    """Logits 6 (1 - distance^2), cut to [-10, 6]; the distance is 1 on the border."""
    height, width = grid_hw
    y, x = np.mgrid[0:height, 0:width].astype(np.float64) + 0.5
    masks = []
    for cx, cy, rx, ry in uniform("ellipses", 4 * num_masks, seed).reshape(num_masks, 4):
        centre = ((cx + 1) / 2 * width, (cy + 1) / 2 * height)
        radius = ((0.06 + 0.1 * (rx + 1)) * width, (0.06 + 0.1 * (ry + 1)) * height)
        squares = ((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2
        masks.append(6 * (1 - squares))
    return np.clip(np.stack(masks), -10, 6).astype(np.float32)


def masks_of(index: int) -> ScoredMasks:
    """Void wins for every fifth mask, from the third on."""
    num_masks, num_classes = NUM_MASKS[index], len(VOCABULARY.classes)
    height, width = FRAMES[index].canvas_hw
    logits = 6 * uniform("class_logits", num_masks * (num_classes + 1), SEEDS[index])
    logits = logits.reshape(num_masks, -1)
    logits[2::5, -1] = 7.0
    class_logits = torch.from_numpy(logits.astype(np.float32))
    return ScoredMasks(
        mask_logits=torch.from_numpy(ellipses(num_masks, (height // 4, width // 4), SEEDS[index])),
        class_probs=class_logits[:, :-1].softmax(dim=-1),
        void_probs=class_logits.softmax(dim=-1)[:, -1],
        iou_scores=torch.ones(num_masks),
        clip_agrees=torch.ones(num_masks, dtype=torch.bool),
    )


def partition(ids: ndarray, class_of: dict[int, int]) -> set[tuple[int, bytes]]:
    """Class and pixels of each segment."""
    return {(c, (ids == i).tobytes()) for i, c in class_of.items()}


@pytest.mark.parametrize("index", [0, 1])
def test_the_segments_are_those_of_fc_clip(index: int) -> None:
    seen = [True] * len(VOCABULARY.classes)
    frame = FRAMES[index]
    result = merge(masks_of(index), VOCABULARY, FC_CLIP, is_seen=seen, frame=frame)
    found = {s.id: s.class_index for s in result.segments}
    ids = REFERENCE[f"merge_{index}/panoptic_ids"]
    theirs = {int(i): int(c) for i, _, c in REFERENCE[f"merge_{index}/segments"]}
    assert found == theirs  # ids, too: both count as the queries come
    assert partition(result.ids, found) == partition(ids, theirs)
    np.testing.assert_array_equal(result.ids, ids)


@pytest.mark.parametrize("index", [0, 1])
def test_each_pixel_has_the_class_that_fc_clip_gives_it(index: int) -> None:
    classes = label_pixels(masks_of(index), frame=FRAMES[index])
    np.testing.assert_array_equal(classes, REFERENCE[f"merge_{index}/semantic_classes"])


@pytest.mark.parametrize("index", [0, 1])
def test_the_instances_are_those_of_fc_clip(index: int) -> None:
    """But those without a pixel, which score 0 there and are left out here."""
    frame = FRAMES[index]
    found = find_instances(masks_of(index), VOCABULARY, eta=0.0, frame=frame, rules="mask2former")
    areas = coco_mask.area([{"size": list(frame.image_hw), "counts": i.rle} for i in found])
    names = ("instance_scores", "instance_classes", "instance_areas")
    scores, classes, areas_there = (REFERENCE[f"merge_{index}/{name}"] for name in names)
    best_first = [i for i in np.argsort(-scores, kind="stable") if areas_there[i]]
    assert [i.category_id - 1 for i in found] == classes[best_first].tolist()
    assert areas.tolist() == areas_there[best_first].tolist()
    np.testing.assert_allclose([i.score for i in found], scores[best_first], atol=1e-7)


def test_a_mask_that_is_void_rather_than_any_class_is_dropped() -> None:
    masks = small_masks([[9.0] * 4] * 4, probs=(0.8, 0.2), void=0.5)  # void 0.5 > ball 0.4
    assert merge_small(masks).segments == ()
    masks = small_masks([[9.0] * 4] * 4, probs=(1.0, 0.0), void=0.5)  # no less likely than void
    assert [s.class_index for s in merge_small(masks).segments] == [0]


def test_the_score_must_pass_the_threshold() -> None:
    masks = small_masks([[9.0] * 4] * 4, probs=(0.75, 0.25), void=0.0)
    config = replace(FC_CLIP, object_threshold=0.75)
    assert merge_small(masks, config).segments == ()
    assert len(merge_small(masks, replace(config, rules="possam")).segments) == 1


def test_pixels_won_outside_of_a_mask_count_towards_its_share() -> None:
    left = small_masks([[9.0, -1.0, -9.0, -9.0]] * 4, probs=(0.9, 0.1), void=0.0)
    strong = small_masks([[9.0] * 4, [-9.0] * 4, [-9.0] * 4, [-9.0] * 4], (0.0, 1.0), 0.0)
    masks = joined(left, strong)
    # The strong mask takes one pixel of four; the left one is the strongest in a column beside it.
    assert {s.class_index for s in merge_small(masks).segments} == {0, 1}
    of_possam = replace(FC_CLIP, rules="possam")
    assert {s.class_index for s in merge_small(masks, of_possam).segments} == {1}


def test_ids_count_as_the_queries_come() -> None:
    weak = small_masks([[9.0, 9.0, -9.0, -9.0]] * 4, probs=(0.6, 0.4), void=0.0)
    strong = small_masks([[-9.0, -9.0, 9.0, 9.0]] * 4, probs=(0.9, 0.1), void=0.0)
    masks = joined(weak, strong)
    assert merge_small(masks).ids[0].tolist() == [1, 1, 2, 2]
    assert merge_small(masks, replace(FC_CLIP, rules="possam")).ids[0].tolist() == [2, 2, 1, 1]


TOY = Vocabulary(
    name="toy",
    classes=(
        VocabularyClass(category_id=1, name="ball", is_thing=True),
        VocabularyClass(category_id=2, name="grass", is_thing=False),
    ),
)


def small_masks(logits: list[list[float]], probs: tuple[float, float], void: float) -> ScoredMasks:
    return ScoredMasks(
        mask_logits=torch.tensor([logits]),
        class_probs=torch.tensor([probs]),
        void_probs=torch.tensor([void]),
        iou_scores=torch.ones(1),
        clip_agrees=torch.ones(1, dtype=torch.bool),
    )


def joined(one: ScoredMasks, other: ScoredMasks) -> ScoredMasks:
    return ScoredMasks(
        mask_logits=torch.cat([one.mask_logits, other.mask_logits]),
        class_probs=torch.cat([one.class_probs, other.class_probs]),
        void_probs=torch.cat([one.void_probs, other.void_probs]),
        iou_scores=torch.ones(2),
        clip_agrees=torch.ones(2, dtype=torch.bool),
    )


def merge_small(masks: ScoredMasks, config: MergeConfig = FC_CLIP) -> PanopticSegmentation:
    frame = Frame(canvas_hw=(4, 4), resized_hw=(4, 4), image_hw=(4, 4))
    return merge(masks, TOY, config, is_seen=[True, True], frame=frame)
