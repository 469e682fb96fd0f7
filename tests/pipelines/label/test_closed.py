"""A tiny EoMT labels a folder through Ray; what does not fit writes nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.label.session import run_label
from pipelines.reader.run import open_run
from pipelines.settings.label import LabelConfig
from possam_core.errors import CheckpointError, VocabularyError
from possam_core.predictor import load_teacher
from possam_core.vocabulary.builtin import find_vocabulary
from tests.closed_models import write_model
from tests.factories import encode

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def config(tmp_path: Path) -> LabelConfig:
    """Two pictures to label with the classes of Cityscapes."""
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for name, image_hw in (("wide", (60, 90)), ("tall", (90, 60))):
        pixels = random.integers(0, 256, (*image_hw, 3), dtype=np.uint8)
        (tmp_path / "photos" / f"{name}.png").write_bytes(encode(pixels, format="PNG"))
    names = [entry.name for entry in find_vocabulary("cityscapes").classes]
    return LabelConfig(
        images=str(tmp_path / "photos"),
        output=str(tmp_path / "run"),
        model=str(write_model(tmp_path / "eomt", "eomt", names)),
        num_workers=1,
    )


def test_two_photographs_are_labelled_and_the_run_names_the_model(config: LabelConfig) -> None:
    run_label(config)
    teacher = load_teacher(config.model)
    images = list(open_run(config.output))
    assert len(images) == 2
    for image in images:
        (expected,) = teacher([image.pixels()])
        assert (image.segmentation.ids == expected.ids).all()
    plan = json.loads((Path(config.output) / "_plan/plan.json").read_text())
    named = plan["settings"]["teacher"]
    assert plan["settings"]["vocabulary"] == "cityscapes"
    assert (named["name"], named["licence"]) == ("eomt", "mit")
    assert named["files"] == dict(teacher.card.files)


def test_other_classes_are_refused_before_anything_is_written(config: LabelConfig) -> None:
    config = LabelConfig(
        images=config.images, output=config.output, model=config.model, vocabulary="coco-panoptic"
    )
    with pytest.raises(VocabularyError, match="expected the 19 classes that the model eomt labels"):
        run_label(config)
    assert not Path(config.output).exists()


def test_damaged_weights_are_refused_before_anything_is_written(config: LabelConfig) -> None:
    (Path(config.model) / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match="it cannot be loaded"):
        run_label(config)
    assert not Path(config.output).exists()
