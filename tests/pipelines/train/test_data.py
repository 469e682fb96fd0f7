"""The labelled images that settings name."""

import pytest

from pipelines.train.config import DataConfig
from pipelines.train.data import open_images
from possam_core.playground import WORKSHOP


@pytest.mark.parametrize(
    ("seen_only", "vocabulary"),
    [(True, WORKSHOP.training_vocabulary), (False, WORKSHOP.vocabulary)],
)
def test_scenes_of_a_world_are_opened_with_its_own_classes(
    seen_only: bool, vocabulary: object
) -> None:
    config = DataConfig(
        source="playground", world="workshop", num_scenes=5, limit=3, seen_only=seen_only
    )
    images = open_images(config)
    assert images.vocabulary == vocabulary
    assert len(images) == 3
    assert images.read(0).name == "scene 0 of seed 0"
