"""Tests of pipelines.evaluate.run."""

import io
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipelines.evaluate.run import EvaluationReport, evaluate_run
from pipelines.run.committed import CORRECTION_SCHEMA
from pipelines.run.folder import SCHEMA_VERSION, VOCABULARY_KEY, shard_key
from possam_core.checkpoints.models import model_fingerprint
from possam_core.checkpoints.weights import save_model
from possam_core.errors import ConfigError, GroundTruthError
from possam_core.labels.calibration import CalibrationConfig, ExpectedPqConfig
from possam_core.model import InferenceConfig
from tests.factories import small_model
from tests.pipelines.damaging import read_rows, rewrite


def printed(report: EvaluationReport) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(report.to_table())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_perfect_labels_score_one_for_every_group_of_classes(make_run):
    small = make_run(5)
    report = evaluate_run(str(small.run), small.ground_truth)
    assert set(report.quality) == {"all", "things", "stuff"}
    assert {(q.pq, q.sq, q.rq) for q in report.quality.values()} == {(1.0, 1.0, 1.0)}
    assert (report.num_images, report.num_errors) == (5, 0)
    assert "100.0" in printed(report)


def test_each_grade_is_measured_on_its_own_images(make_run):
    small = make_run(5)

    def damage(rows):
        rows[0]["quality"]["grade"] = "A"
        rows[1]["quality"]["grade"] = rows[2]["quality"]["grade"] = "C"
        rows[2]["segments_info"].pop()

    rewrite(small.run, damage)
    (small.run / shard_key(1)).unlink()
    report = evaluate_run(str(small.run), small.ground_truth)
    best, other = report.grades
    assert (best.grade, best.num_images, best.quality.pq) == ("A", 1, 1.0)
    assert (other.grade, other.num_images) == ("C", 2)
    assert 0.5 < other.quality.pq < 1.0
    assert other.expected_pq is None  # its checkpoint is not here
    assert "Calibration of the grades" in printed(report)


def test_corrected_rows_count_as_the_model_had_labelled_them(make_run):
    small = make_run(3)
    row = read_rows(small.run)[0] | {"segments_info": [], "author": "ada"}
    rows = pa.Table.from_pylist([row], schema=CORRECTION_SCHEMA)
    (small.run / "corrections").mkdir()
    path = small.run / "corrections/00001-20260131T120000Z.parquet"
    pq.write_table(rows.replace_schema_metadata({"schema_version": SCHEMA_VERSION}), path)
    assert evaluate_run(str(small.run), small.ground_truth).quality["all"].pq == 1.0


def test_every_segment_of_an_image_with_an_error_is_missed(make_run):
    small = make_run(4, damage={1: b""})
    report = evaluate_run(str(small.run), small.ground_truth)
    truth = json.loads(small.ground_truth.read_text())
    missed = sum(c.fn for c in report.figures.measurement.segments.per_category.values())
    assert missed == len(truth["annotations"][1]["segments_info"])
    assert (report.num_images, report.num_errors) == (4, 1)
    assert "4 images, 1 of them without labels" in printed(report)


def test_images_that_only_one_side_knows_are_left_out_and_counted(make_run):
    small = make_run(5)
    truth = json.loads(small.ground_truth.read_text())
    del truth["annotations"][0]
    truth["images"].append({"id": 99, "file_name": "other.jpg"})
    truth["annotations"].append({"image_id": 99, "file_name": "x.png", "segments_info": []})
    small.ground_truth.write_text(json.dumps(truth))
    report = evaluate_run(str(small.run), small.ground_truth)
    assert (report.num_images, report.num_without_truth, report.num_without_row) == (4, 1, 1)
    assert report.quality["all"].pq == 1.0
    assert "left out" in printed(report)


def test_groups_seen_and_unseen_are_those_that_the_run_records(make_run):
    small = make_run(2)
    truth = json.loads(small.ground_truth.read_text())
    unseen = truth["annotations"][0]["segments_info"][0]["category_id"]
    path = small.run / VOCABULARY_KEY
    content = json.loads(path.read_text())
    for record in content["categories"]:
        record["is_seen"] = record["id"] != unseen
    path.write_text(json.dumps(content))
    quality = evaluate_run(str(small.run), small.ground_truth).quality
    assert set(quality) == {"all", "things", "stuff", "seen", "unseen"}
    assert quality["unseen"].num_classes == 1


def test_truth_of_other_classes_images_or_sizes_is_refused(make_run):
    small = make_run(2)
    text = small.ground_truth.read_text()
    truth = json.loads(text)
    for category in truth["categories"]:
        category["name"] += "s"
    small.ground_truth.write_text(json.dumps(truth))
    with pytest.raises(GroundTruthError, match="only classes of the vocabulary 'playground'"):
        evaluate_run(str(small.run), small.ground_truth)

    small.ground_truth.write_text(text.replace("scene-0000", "other-0000"))
    with pytest.raises(GroundTruthError, match="names none of them"):
        evaluate_run(str(small.run), small.ground_truth)

    first, second = json.loads(text)["annotations"]
    swapped = [first | {"image_id": 1}, second | {"image_id": 0}]
    small.ground_truth.write_text(json.dumps(json.loads(text) | {"annotations": swapped}))
    with pytest.raises(GroundTruthError, match="of the same images"):
        evaluate_run(str(small.run), small.ground_truth)


def test_a_folder_that_is_no_run_is_refused(tmp_path, make_run):
    small = make_run(1)
    with pytest.raises(ConfigError, match="expected a run folder"):
        evaluate_run(str(tmp_path / "absent"), small.ground_truth)
    with pytest.raises(ConfigError, match="expected a run with labels"):
        evaluate_run(str(small.corpus), small.ground_truth)


def test_grades_of_a_calibrated_model_are_compared_with_what_its_checkpoint_promises(
    make_run, calibrated_model
):
    small = make_run(5)
    path = small.run / "_plan/plan.json"
    plan = json.loads(path.read_text())
    plan["settings"] |= {
        "model": str(calibrated_model),
        "model_sha256": model_fingerprint(str(calibrated_model)),
    }
    path.write_text(json.dumps(plan))

    def damage(rows):
        rows[0]["quality"]["grade"] = "A"
        rows[1]["quality"]["grade"] = rows[2]["quality"]["grade"] = "C"
        rows[2]["segments_info"].pop()

    rewrite(small.run, damage)
    (small.run / shard_key(1)).unlink()
    report = evaluate_run(str(small.run), small.ground_truth)
    best, other = report.grades
    assert (best.expected_pq, best.image_pq, best.expected_image_pq) == (0.5, 1.0, 0.625)
    assert (other.expected_pq, other.expected_image_pq) == (None, None)
    assert 0.5 < other.image_pq < 1.0
    text = printed(report)
    assert "this model on the images that it was calibrated with" in text
    assert "+37.5" in text

    calibrated_model.write_bytes(b"another one")  # what it promised is not known any more
    report = evaluate_run(str(small.run), small.ground_truth)
    assert report.grades[0].expected_pq is None


@pytest.fixture
def calibrated_model(tmp_path):
    """A checkpoint whose card promises something of grade A."""
    expected_pq = ExpectedPqConfig(
        intercept=0.0,
        of_segments=1.0,
        of_coverage=1.0,
        of_few=1.0,
        usual_coverage=1.0,
        usual_score=1.0,
        usual_predicted_iou=1.0,
    )
    model = small_model()
    grades = {"A": {"images": 7, "pq": 0.5, "image_pq": 0.625, "expected_pq": 0.7}}
    model.card = replace(
        model.card,
        inference=InferenceConfig(calibration=CalibrationConfig(expected_pq=expected_pq)),
        metrics={"calibration": {"grades": grades}},
    )
    save_model(tmp_path / "calibrated.safetensors", model)
    return tmp_path / "calibrated.safetensors"
