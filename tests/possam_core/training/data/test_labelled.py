"""Playground scenes as a data set: the same scenes, with classes of the vocabulary it is given."""

import numpy as np
import pytest

from possam_core.playground import PLAYGROUND, WORKSHOP, World, generate_scene
from possam_core.training.data.labelled import PlaygroundImages


@pytest.mark.parametrize("world", [PLAYGROUND, WORKSHOP], ids=lambda w: w.name)
def test_scenes_are_those_of_the_world_with_classes_of_the_training_vocabulary(
    world: World,
) -> None:
    shown = world.training_vocabulary
    images = PlaygroundImages(seed=3, num_scenes=4, vocabulary=shown, world=world)
    names = frozenset(c.name for c in shown.classes)
    scene, image = generate_scene(3, 2, class_names=names, world=world), images.read(2)
    assert np.array_equal(image.pixels, scene.image)
    assert np.array_equal(image.ids, scene.ids)
    assert [shown.classes[i] for i in image.class_indices] == [
        world.vocabulary.classes[i] for i in scene.class_indices
    ]


def test_each_world_has_a_different_key() -> None:
    keys = {
        PlaygroundImages(seed=1, num_scenes=2, vocabulary=w.vocabulary, world=w).key
        for w in (PLAYGROUND, WORKSHOP)
    }
    assert len(keys) == 2
