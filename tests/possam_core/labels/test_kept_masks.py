"""A batch on an accelerator gives each image what it gets alone on a CPU, and waits twice."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.posing import counting, pose
from possam_core.labels.frame import Frame
from possam_core.labels.kept_masks import MaskChoice
from possam_core.labels.merge_config import MergeConfig, MergeRules
from possam_core.labels.panoptic import Merged, merge_kept, merge_masks
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.vocabulary.vocabulary import Vocabulary

WORDS = Vocabulary.from_records(
    "words",
    [{"name": f"word {i}", "kind": "thing" if i % 2 else "stuff"} for i in range(6)],
)
IS_SEEN = (True, False, None, True, True, False)
FRAMES = [
    Frame(canvas_hw=(64, 64), resized_hw=(48, 64), image_hw=(96, 128)),
    Frame(canvas_hw=(64, 64), resized_hw=(64, 64), image_hw=(8, 8)),
    Frame(canvas_hw=(64, 64), resized_hw=(1, 64), image_hw=(10, 500)),
    Frame(canvas_hw=(64, 64), resized_hw=(64, 33), image_hw=(77, 40)),
]


def masks_of(seed: int, num_masks: int = 20, *, sure: float = 1.0) -> ScoredMasks:
    """Smooth noise with random classes; every third mask ties with the one before it."""
    rng = torch.Generator().manual_seed(seed)
    coarse = 6 * torch.randn((1, num_masks, 4, 4), generator=rng)
    logits = torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear")[0]
    probs = (3 * torch.randn((num_masks, len(WORDS)), generator=rng)).softmax(dim=-1)
    logits[2::3], probs[2::3] = logits[1::3][: len(logits[2::3])], probs[1::3][: len(probs[2::3])]
    return ScoredMasks(
        mask_logits=logits,
        class_probs=sure * probs,
        void_probs=0.1 * torch.ones(num_masks),
        iou_scores=0.9 * torch.ones(num_masks),
        clip_agrees=torch.rand(num_masks, generator=rng) < 0.5,
    )


def posed(masks: ScoredMasks) -> ScoredMasks:
    names = ("mask_logits", "class_probs", "void_probs", "iou_scores", "clip_agrees")
    values = {name: getattr(masks, name) for name in names}
    return replace(masks, **{n: None if v is None else pose(v) for n, v in values.items()})


def merge_together(images: list[ScoredMasks], frames: list[Frame], config: MergeConfig):
    with torch.no_grad(), counting() as counts:
        choice = MaskChoice([posed(m) for m in images], frames, config)
        kept = choice.keep()
        merged = [
            merge_kept(m, k, WORDS, config, is_seen=IS_SEEN)
            for m, k in zip(images, kept, strict=True)
        ]
    return merged, counts


def assert_same(found: Merged, expected: Merged) -> None:
    assert found.segmentation.segments == expected.segmentation.segments
    assert (found.segmentation.ids == expected.segmentation.ids).all()
    assert found.query_of == expected.query_of
    for name in ("class_probs", "void_probs", "iou_scores"):
        a, b = getattr(found, name), getattr(expected, name)
        assert (a is None and b is None) or (isinstance(a, Tensor) and torch.equal(a, b)), name


@pytest.mark.parametrize("rules", ["possam", "mask2former"])
def test_a_batch_gives_each_image_what_it_gets_alone(rules: MergeRules) -> None:
    config = MergeConfig(rules=rules, object_threshold=0.3, overlap_threshold=0.2)
    images = [masks_of(seed) for seed in range(4)]
    merged, counts = merge_together(images, FRAMES, config)
    for image, frame, found in zip(images, FRAMES, merged, strict=True):
        assert_same(found, merge_masks(image, WORDS, config, is_seen=IS_SEEN, frame=frame))
    assert counts.num_waits == 2
    assert all(m.segmentation.segments for m in merged)


def test_images_of_other_numbers_of_masks_and_of_none_that_passes_share_a_batch() -> None:
    config = MergeConfig(object_threshold=0.3, overlap_threshold=0.2)
    images = [
        masks_of(1, 7),
        masks_of(2, sure=0.1),
        masks_of(3, 1),
        masks_of(4).keep(torch.tensor([], dtype=torch.long)),
    ]
    merged, counts = merge_together(images, FRAMES, config)
    for image, frame, found in zip(images, FRAMES, merged, strict=True):
        assert_same(found, merge_masks(image, WORDS, config, is_seen=IS_SEEN, frame=frame))
    assert [len(m.segmentation.segments) > 0 for m in merged] == [True, False, True, False]
    assert counts.num_waits == 2


def test_a_batch_of_one_and_unknown_figures() -> None:
    config = MergeConfig(object_threshold=0.3, overlap_threshold=0.2)
    image = replace(masks_of(5), iou_scores=None, clip_agrees=None, is_distribution=False)
    (found,), counts = merge_together([image], FRAMES[:1], config)
    assert_same(found, merge_masks(image, WORDS, config, is_seen=IS_SEEN, frame=FRAMES[0]))
    assert {s.predicted_iou for s in found.segmentation.segments} == {None}
    assert counts.num_waits == 2


def test_more_runs_than_come_home_cost_one_more_wait() -> None:
    rows, columns = torch.meshgrid(torch.arange(200), torch.arange(200), indexing="ij")
    first = torch.where((rows + columns) % 2 == 0, 4.0, -4.0)
    image = replace(masks_of(6, 2), mask_logits=torch.stack([first, -first]))
    frame = Frame(canvas_hw=(200, 200), resized_hw=(200, 200), image_hw=(200, 200))
    config = MergeConfig(object_threshold=0.0)
    (found,), counts = merge_together([image], [frame], config)
    assert_same(found, merge_masks(image, WORDS, config, is_seen=IS_SEEN, frame=frame))
    assert counts.num_waits == 3


@pytest.mark.parametrize("name", ["mask_logits", "class_probs", "void_probs", "iou_scores"])
def test_masks_that_are_no_numbers_are_found_with_the_first_wait(name: str) -> None:
    wrong = masks_of(7)
    getattr(wrong, name)[3] = float("nan")
    with torch.no_grad(), counting() as counts:
        choice = MaskChoice([posed(masks_of(8)), posed(wrong)], FRAMES[:2], MergeConfig())
        assert not choice.are_fit
    assert counts.num_waits == 1
