import pytest

from possam_core.checkpoints.weights import load_model
from possam_core.playground import PLAYGROUND
from possam_core.training.data.labelled import PlaygroundImages
from possam_core.training.tiny.evaluate import HeldOutScenes
from possam_core.training.validation import Example, Validation
from possam_core.training.workers import Workers


def test_the_figures_are_those_of_the_same_scenes_measured_otherwise() -> None:
    model = load_model("possam-tiny")
    images = PlaygroundImages(seed=77, num_scenes=9, vocabulary=PLAYGROUND.vocabulary)
    evaluation = Validation(images, num_images=3, num_examples=2).measure(model, Workers())
    expected = HeldOutScenes(seed=77, num_scenes=3).pq(model, model.card.inference)
    assert evaluation.figures == pytest.approx(expected, rel=1e-6)
    assert expected["all"] > 20
    assert len(evaluation.examples) == 2
    for index, example in enumerate(evaluation.examples):
        assert isinstance(example, Example)
        assert example.image.name == images.read(index).name
        assert example.prediction.image_hw == example.image.ids.shape
