from collections.abc import Sequence

import numpy as np
import pytest
import torch

from possam_core.errors import GroundTruthError
from possam_core.playground import PLAYGROUND, generate_scene
from possam_core.training.batches import ReadAhead, ViewedImages, split_share
from possam_core.training.data.augment import AugmentConfig
from possam_core.training.data.labelled import GroundTruthImage, PlaygroundImages
from possam_core.training.data.scenes import SceneBatch
from possam_core.training.stage import LoopConfig
from possam_core.vocabulary.vocabulary import Vocabulary

WHOLE = AugmentConfig(min_scale=1.0, max_scale=1.0, flip=False)


def make_batches(
    num_scenes: int = 5, augment: AugmentConfig = WHOLE, batch_size: int = 2
) -> ViewedImages:
    images = PlaygroundImages(
        seed=3, num_scenes=num_scenes, vocabulary=PLAYGROUND.training_vocabulary
    )
    loop = LoopConfig(num_steps=1, batch_size=batch_size, seed=1)
    return ViewedImages(images, augment, loop, canvas=48, num_readers=2)


class OneImage:
    """Two things that touch, one of them a crowd."""

    vocabulary: Vocabulary = PLAYGROUND.vocabulary
    key = "one"

    def __len__(self) -> int:
        return 1

    def read(self, index: int) -> GroundTruthImage:
        return GroundTruthImage(
            name="one",
            pixels=np.zeros((2, 4, 3), np.uint8),
            ids=np.array([[1, 1, 2, 0], [1, 1, 2, 0]], np.int32),
            class_indices=(7, 9),
            crowds=frozenset({1}),
        )


def test_every_image_comes_once_an_epoch_in_another_order_each_time() -> None:
    batches = make_batches()
    drawn = [s.index for step in range(5) for s in batches.read(step, range(2)).sources]
    assert sorted(drawn[:5]) == sorted(drawn[5:]) == [0, 1, 2, 3, 4]
    assert drawn[:5] != drawn[5:]


def test_a_batch_does_not_depend_on_the_parts_it_is_read_in() -> None:
    jittered = AugmentConfig(min_scale=0.3, max_scale=2.0)
    whole = make_batches(augment=jittered, batch_size=4).read(3, range(4))
    again = make_batches(augment=jittered, batch_size=4)
    parts = [again.read(3, part) for part in ([2, 3], [0], [1])]
    for part, positions in zip(parts, ([2, 3], [0], [1]), strict=True):
        expected = whole.select(positions)
        torch.testing.assert_close(part.images.pixels, expected.images.pixels, rtol=0, atol=0)
        torch.testing.assert_close(part.images.valid, expected.images.valid)
        torch.testing.assert_close(part.ids, expected.ids)
        assert part.images.resized_hw == expected.images.resized_hw
        assert part.sources == expected.sources
        assert [c.tolist() for c in part.classes] == [c.tolist() for c in expected.classes]


def test_classes_are_positions_in_the_vocabulary_that_is_learned() -> None:
    batch = make_batches().read(0, range(2))
    everything, learned = PLAYGROUND.vocabulary.classes, PLAYGROUND.training_vocabulary.classes
    for source, ids, classes in zip(batch.sources, batch.ids, batch.classes, strict=True):
        names = frozenset(c.name for c in learned)
        scene = generate_scene(3, source.index, class_names=names)
        shown = np.unique(ids)[1:].tolist()
        assert shown == list(range(1, len(classes) + 1))
        true_names = {everything[c].name for c in scene.class_indices}
        assert {learned[c].name for c in classes} <= true_names


def test_a_crowd_is_not_a_target() -> None:
    batches = ViewedImages(OneImage(), WHOLE, LoopConfig(num_steps=1, batch_size=1), canvas=4)
    batch = batches.read(0, range(1))
    assert batch.ids[0].tolist() == [[0, 0, 1, 0], [0, 0, 1, 0], [0] * 4, [0] * 4]
    assert batch.classes[0].tolist() == [9]
    assert batch.images.valid[0].sum() == 8


def test_a_share_is_split_into_parts_of_the_size_that_fits() -> None:
    assert split_share(range(4, 9), 2) == [range(4, 6), range(6, 8), range(8, 9)]
    assert split_share(range(4, 9), None) == [range(4, 9)]


class Failing:
    """Batches of which step 2 cannot be read."""

    def read(self, step: int, positions: Sequence[int]) -> SceneBatch:
        if step == 2:
            raise GroundTruthError("no step 2")
        return make_batches().read(step, positions)


def test_an_error_of_reading_ahead_is_raised_when_the_step_is_read() -> None:
    reader = ReadAhead(Failing(), [range(1), range(1, 2)], num_steps=4)
    whole = make_batches().read(1, range(2))
    first, second = reader.read(1)  # reads step 2 meanwhile
    assert (*first.sources, *second.sources) == whole.sources
    with pytest.raises(GroundTruthError, match="no step 2"):
        reader.read(2)
    reader.close()
