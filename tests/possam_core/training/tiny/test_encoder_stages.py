"""Batches alternate between worlds, and a new head keeps the trained encoders."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from possam_core.images.batch import ImageBatch
from possam_core.playground import WORKSHOP
from possam_core.training.data.scenes import AlternatingBatches, SceneBatch
from possam_core.training.tiny.train import fresh_head
from tests.factories import small_model


@dataclass(frozen=True)
class Numbered:
    """Batches that record their data set, step and positions."""

    number: int

    def read(self, step: int, positions: Sequence[int]) -> SceneBatch:
        said = torch.tensor([[self.number, step], [0, *positions]])[None]
        nothing = torch.zeros((1, 2, 2), dtype=torch.bool)
        pixels = torch.zeros((1, 3, 2, 2), dtype=torch.uint8)
        images = ImageBatch(pixels, nothing, ((2, 2),), ((2, 2),))
        return SceneBatch(images, said, (torch.tensor([0]),))


def test_batches_alternate_between_data_sets_without_skipping() -> None:
    turns = AlternatingBatches([Numbered(7), Numbered(8)])
    said = [turns.read(step, [5]).ids[0].tolist() for step in range(4)]
    assert said == [[[7, 0], [0, 5]], [[8, 0], [0, 5]], [[7, 1], [0, 5]], [[8, 1], [0, 5]]]


def test_a_new_head_keeps_the_encoders_and_gets_the_training_classes() -> None:
    encoders = small_model(seed=1)
    model = fresh_head(encoders, WORKSHOP, seed=2)
    assert model.sam is encoders.sam
    assert model.clip is encoders.clip
    assert not torch.equal(
        model.mask_decoder.query_features.weight, encoders.mask_decoder.query_features.weight
    )
    seen = WORKSHOP.vocabulary.seen_in(model.card.training_names)
    assert sum(seen) == len(WORKSHOP.training_vocabulary)


def test_the_same_seed_makes_the_same_head() -> None:
    first, second = (fresh_head(small_model(seed=1), WORKSHOP, seed=2) for _ in range(2))
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name], rtol=0, atol=0)
