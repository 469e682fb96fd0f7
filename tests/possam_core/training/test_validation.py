from dataclasses import dataclass

import pytest

from possam_core.checkpoints.weights import load_model
from possam_core.model import PosSAM
from possam_core.playground import PLAYGROUND
from possam_core.training.data.labelled import GroundTruthImage, PlaygroundImages
from possam_core.training.tiny.evaluate import HeldOutScenes
from possam_core.training.validation import ValidatedImage, Validation
from possam_core.training.workers import Workers
from possam_core.vocabulary.vocabulary import Vocabulary


def test_the_figures_equal_those_of_a_direct_measurement() -> None:
    model = load_model("possam-tiny")
    images = PlaygroundImages(seed=77, num_scenes=9, vocabulary=PLAYGROUND.vocabulary)
    evaluation = Validation(images, num_images=3, num_examples=2).measure(model, Workers())
    expected = HeldOutScenes(seed=77, num_scenes=3).pq(model, model.card.inference)
    assert evaluation.figures == pytest.approx(expected, rel=1e-6)
    assert expected["all"] > 20
    assert len(evaluation.examples) == 2
    for index, example in enumerate(evaluation.examples):
        assert isinstance(example, ValidatedImage)
        assert example.image.name == images.read(index).name
        assert example.prediction.image_hw == example.image.ids.shape


@dataclass
class NoImages:
    """Two held-out images on a disk that has failed."""

    vocabulary: Vocabulary = PLAYGROUND.vocabulary
    key: str = "gone"

    def __len__(self) -> int:
        return 2

    def read(self, index: int) -> GroundTruthImage:
        raise OSError("the disk is gone")


def modes(model: PosSAM) -> list[bool]:
    return [part.training for part in model.modules()]


def test_measuring_leaves_the_model_in_the_mode_it_was_in_even_when_it_fails(
    tiny_model: str,
) -> None:
    model = load_model(tiny_model).train()
    model.clip.eval()
    before = modes(model)
    assert set(before) == {True, False}
    scenes = HeldOutScenes(seed=1, num_scenes=1)
    scenes.measure(model, model.card.inference)
    assert modes(model) == before
    images = NoImages()
    with pytest.raises(OSError, match="the disk is gone"):
        Validation(images, num_images=2).measure(model, Workers())
    assert modes(model) == before
    scenes.scenes = (None,)  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        scenes.measure(model, model.card.inference)
    assert modes(model) == before
