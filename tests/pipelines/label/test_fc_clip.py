"""FC-CLIP, small, labels a folder through Ray; files that do not fit write nothing."""

import json
from pathlib import Path

import pytest
import torch

from pipelines.label.session import run_label
from pipelines.reader.run import open_run
from pipelines.settings.label import LabelConfig
from possam_core.errors import CheckpointError
from possam_core.predictor import load_teacher
from possam_core.vocabulary.builtin import find_vocabulary
from tests.factories import encode
from tests.fc_clip_files import write_fc_clip
from tests.fc_clip_reference import SMALL, picture

VOCABULARY = "coco-panoptic:person,car,sky,road,tree"

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def config(tmp_path: Path) -> LabelConfig:
    """Two pictures to label with head, tower and model file."""
    (tmp_path / "photos").mkdir()
    for shape in SMALL.pictures:
        content = encode(picture(*shape), format="PNG")
        (tmp_path / "photos" / f"{shape[0]}.png").write_bytes(content)
    (tmp_path / "model").mkdir()
    return LabelConfig(
        images=str(tmp_path / "photos"),
        output=str(tmp_path / "run"),
        model=str(write_fc_clip(tmp_path / "model", licence="CLIP: MIT")),
        vocabulary=VOCABULARY,
        num_workers=1,
    )


def test_two_photographs_are_labelled_and_the_run_names_the_teacher(config: LabelConfig) -> None:
    run_label(config)
    images = {Path(image.uri).stem: image for image in open_run(config.output)}
    teacher = load_teacher(config.model, find_vocabulary(VOCABULARY))
    segments = 0
    for shape in SMALL.pictures:
        found = images[str(shape[0])].segmentation
        (expected,) = teacher([picture(*shape)])
        assert (found.ids == expected.ids).all()
        for segment in found.segments:
            segments += 1
            assert segment.predicted_iou is None
            assert isinstance(segment.clip_agrees, bool)
            assert isinstance(segment.is_seen, bool)
            assert segment.entropy is not None
    assert segments > 0
    plan = json.loads((Path(config.output) / "_plan/plan.json").read_text())
    named = plan["settings"]["teacher"]
    assert (named["name"], named["licence"]) == ("fc-clip", "CLIP: MIT")
    assert named["files"] == dict(teacher.card.files)
    assert set(named["files"]) == {"fcclip_small.pth", "clip.bin"}


def test_a_tower_that_does_not_fit_is_refused_before_anything_is_written(
    config: LabelConfig,
) -> None:
    torch.save({"logit_scale": torch.zeros(1)}, Path(config.model).parent / "clip.bin")
    with pytest.raises(CheckpointError, match="expected the open_clip weights of this CLIP"):
        run_label(config)
    assert not Path(config.output).exists()
