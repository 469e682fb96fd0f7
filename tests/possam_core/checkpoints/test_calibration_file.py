"""A calibration of FC-CLIP, which cannot hold one itself: written, used, and refused."""

import json
from pathlib import Path

import pytest

from pipelines.evaluate.calibrate import CalibrateConfig, calibrate_checkpoint
from pipelines.planning.prepare import resolve_settings
from pipelines.settings.label import LabelConfig
from pipelines.train.config import DataConfig
from possam_core.checkpoints.calibration_file import find_calibration
from possam_core.checkpoints.models import promised_grades, read_card, require_model
from possam_core.errors import CheckpointError, ConfigError
from possam_core.playground import PLAYGROUND, generate_scene
from possam_core.predictor import load_teacher
from tests.fc_clip_files import write_fc_clip

NUM_SCENES = 4  # too few to fit grades
EXPECTED_PQ = {
    "intercept": 0.0,
    "of_segments": 1.0,
    "of_coverage": 1.0,
    "of_few": 1.0,
    "usual_coverage": 0.5,
    "usual_score": 0.5,
    "usual_predicted_iou": None,
}


def config(model: Path | str, output: Path) -> CalibrateConfig:
    data = DataConfig(source="playground", num_scenes=NUM_SCENES, scene_seed=31)
    return CalibrateConfig(model=str(model), data=data, output=str(output))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a small FC-CLIP, whose files lie beside it."""
    folder = tmp_path_factory.mktemp("calibration")
    output = folder / "few.calibration.json"
    calibrate_checkpoint(config(write_fc_clip(folder), output), on_images=lambda done, total: None)
    return output


@pytest.fixture(scope="module")
def calibration(few: Path) -> Path:
    """The same as if there had been images enough."""
    content = json.loads(few.read_text())
    content["calibration"]["expected_pq"] = EXPECTED_PQ
    output = few.with_name("mine.calibration.json")
    output.write_text(json.dumps(content))
    return output


def test_too_few_images_calibrate_scores_and_no_grade(few: Path) -> None:
    card = read_card(str(few))
    assert card.calibrated is None
    assert card.fingerprint != read_card(str(few.parent / "model.yaml")).fingerprint


def test_the_calibrated_model_is_another_one_whose_grades_are_known(calibration: Path) -> None:
    model, calibrated = str(calibration.parent / "model.yaml"), str(calibration)
    before, after = read_card(model), read_card(calibrated)
    require_model(calibrated)
    assert before.calibrated is None
    assert after.calibrated is not None
    assert after.calibrated.vocabulary_sha256 == PLAYGROUND.vocabulary.fingerprint
    assert after.calibrated.num_images == NUM_SCENES / 2
    assert after.fingerprint != before.fingerprint
    assert set(after.files) == {*before.files, calibration.name}
    grades = promised_grades(calibrated)
    assert grades is not None
    assert sum(record["images"] for record in grades.values()) == NUM_SCENES / 2


def test_it_changes_figures_and_no_pixel(calibration: Path) -> None:
    image = generate_scene(5, 0).image
    plain = load_teacher(str(calibration.parent / "model.yaml"), PLAYGROUND.vocabulary)
    teacher = load_teacher(str(calibration), PLAYGROUND.vocabulary)
    assert teacher.fingerprint == read_card(str(calibration)).fingerprint
    ((before,), (after,)) = plain([image]), teacher([image])
    assert (before.ids == after.ids).all()
    assert before.expected is None
    assert after.expected is not None


def test_a_calibration_of_another_model_or_a_damaged_one_is_refused(calibration: Path) -> None:
    content = json.loads(calibration.read_text())
    changed = calibration.with_name("changed.calibration.json")
    changed.write_text(json.dumps(content | {"fingerprint": "12"}))
    with pytest.raises(CheckpointError, match="have changed since"):
        read_card(str(changed))
    damaged = [
        {"metrics": {}},
        {"metrics": {**content["metrics"], "grades": None}},
        {
            "metrics": {
                **content["metrics"],
                "set": {**content["metrics"]["set"], "num_images": "4"},
            }
        },
        {"model": 3},
        {"model": str(changed)},
    ]
    for text in ("{", "{}", *(json.dumps(content | change) for change in damaged)):
        changed.write_text(text)
        with pytest.raises(CheckpointError, match="expected a calibration in"):
            read_card(str(changed))
    assert find_calibration(str(calibration.parent / "absent.calibration.json")) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sharpness": 1}, "sharpness"),
        ({"expected_pq": {"intercept": 0.0}}, "of_segments"),
        ({"temperature": -1.0}, "temperature must be more than 0, got -1.0"),
    ],
)
def test_a_calibration_that_makes_no_sense_is_refused_before_a_run_is_written(
    calibration: Path, tmp_path: Path, change: dict, words: str
) -> None:
    content = json.loads(calibration.read_text())
    content["calibration"] |= change
    changed = calibration.with_name("senseless.calibration.json")
    changed.write_text(json.dumps(content))
    asked = LabelConfig(
        images=str(tmp_path / "photos"),
        output=str(tmp_path / "run"),
        model=str(changed),
        vocabulary="cityscapes",
    )
    with pytest.raises(CheckpointError, match=f"expected a calibration in .*{words}"):
        resolve_settings(asked)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("model", "output", "words"),
    [
        ("possam-tiny", "a.calibration.json", "expected a .safetensors file"),
        ("model.yaml", "a.safetensors", "expected a .calibration.json file"),
        ("mine.calibration.json", "a.calibration.json", "not calibrated yet"),
        ("my_package:load", "a.calibration.json", "your own teacher"),
    ],
)
def test_an_output_that_cannot_hold_the_calibration_is_refused(
    calibration: Path, model: str, output: str, words: str
) -> None:
    beside = calibration.parent / model
    named = beside if beside.exists() else model
    with pytest.raises(ConfigError, match=words):
        calibrate_checkpoint(
            config(named, calibration.with_name(output)), on_images=lambda done, total: None
        )
