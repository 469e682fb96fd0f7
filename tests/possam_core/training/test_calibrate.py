"""A model calibrated on some scenes is calibrated on others."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from possam_core.checkpoints.models import promised_grades
from possam_core.checkpoints.weights import load_model, save_model
from possam_core.labels.calibration import CalibrationConfig
from possam_core.labels.quality import EXPECTED_PQ_BOUNDS, assess
from possam_core.model import PosSAM
from possam_core.playground import PLAYGROUND
from possam_core.predictor import Predictor
from possam_core.training.calibrate import Calibrated, calibrate_teacher
from possam_core.training.data.labelled import PlaygroundImages

NUM_SCENES = 40
BOUNDS = (1.0, *EXPECTED_PQ_BOUNDS, 0.0)


def scenes(seed: int, number: int = NUM_SCENES) -> PlaygroundImages:
    return PlaygroundImages(seed=seed, num_scenes=number, vocabulary=PLAYGROUND.vocabulary)


@pytest.fixture(scope="module")
def model() -> PosSAM:
    return load_model("possam-tiny")


@pytest.fixture(scope="module")
def calibrated(model: PosSAM) -> Calibrated:
    return calibrate_teacher(
        lambda words: Predictor(model, words), fit_on=scenes(31), measure_on=scenes(32)
    )


def test_the_calibration_error_falls_on_scenes_outside_the_fit(
    calibrated: Calibrated,
) -> None:
    error = calibrated.metrics["expected_calibration_error"]["score"]
    assert error["after"] < error["before"]
    assert calibrated.metrics["rank_correlation_of_expected_pq"] > 0.3


def test_the_grades_are_ranges_of_the_expected_quality(calibrated: Calibrated) -> None:
    grades = calibrated.metrics["grades"]
    assert sum(record["images"] for record in grades.values()) == NUM_SCENES
    for place, name in enumerate("ABCD"):
        if name in grades:
            assert BOUNDS[place + 1] <= grades[name]["expected_pq"] < BOUNDS[place]


def test_pixels_and_classes_stay_and_only_reported_figures_change(
    model: PosSAM, calibrated: Calibrated
) -> None:
    image = scenes(33).read(0).pixels
    (before,), (after,) = (
        Predictor(model, inference=replace(model.card.inference, calibration=calibration))([image])
        for calibration in (CalibrationConfig(), calibrated.calibration)
    )
    assert (after.ids == before.ids).all()
    assert before.expected is None
    assert after.expected is not None
    for a, b in zip(after.segments, before.segments, strict=True):
        assert replace(a, score=b.score, predicted_iou=b.predicted_iou) == b
    assert assess(after, boundary_sharpness=1.0).mean_score == pytest.approx(
        sum(s.score * s.area_px for s in after.segments) / sum(s.area_px for s in after.segments)
    )


def test_the_calibration_is_kept_in_the_checkpoint(
    model: PosSAM, calibrated: Calibrated, tmp_path: Path
) -> None:
    assert json.loads(json.dumps(calibrated.metrics, allow_nan=False)) == calibrated.metrics
    old = model.card
    inference = replace(old.inference, calibration=calibrated.calibration)
    model.card = replace(old, inference=inference, metrics={"calibration": calibrated.metrics})
    save_model(tmp_path / "calibrated.safetensors", model)
    model.card = old
    again = load_model(str(tmp_path / "calibrated.safetensors"))
    assert again.card.inference == inference
    promised = promised_grades(str(tmp_path / "calibrated.safetensors"))
    assert promised == calibrated.metrics["grades"]


def test_a_model_without_any_match_is_not_changed(tiny_model: str) -> None:
    model = load_model(tiny_model)
    few = scenes(34, 2)
    calibrated = calibrate_teacher(
        lambda words: Predictor(model, words), fit_on=few, measure_on=few
    )
    assert calibrated.calibration.expected_pq is None
    assert 0.5 < calibrated.calibration.temperature < 2
    assert calibrated.metrics["measured_images"] == 2
