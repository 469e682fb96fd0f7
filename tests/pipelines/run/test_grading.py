"""Tests of pipelines.run.grading: the grades of a run wherever they are shown or chosen by."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines import open_run, run_statistics, write_report
from pipelines.cli import main
from pipelines.export import ExportConfig, ExportFormat, run_export
from pipelines.label.session import LabelReport
from pipelines.label.summary import summarise, to_record
from pipelines.run.committed import CORRECTION_SCHEMA
from pipelines.run.finalise import finalise
from pipelines.run.folder import SCHEMA_VERSION, RunFolder, plan_key
from pipelines.run.grading import UNCALIBRATED, starting_note, why_uncalibrated
from pipelines.run.manifest import current_manifest
from pipelines.run.plan import load_plan, load_rounds
from pipelines.stats.report import report_statistics
from pipelines.stats.thresholds import Thresholds, shortfalls
from pipelines.stats.view import statistics_view
from pipelines.verify import verify_run
from possam_core.checkpoints.models import model_fingerprint, read_card
from possam_core.errors import ConfigError
from possam_core.labels.calibration_set import CalibrationSet, Spread
from tests.factories import CALIBRATED
from tests.pipelines.damaging import read_rows, rewrite_json

HERE = "not calibrated here"
# Scores of the run's images are 0.9 to 0.5, of these 0.1: a mean 6 deviations away.
OF_DARK_IMAGES = replace(
    CALIBRATED, measures={"mean_score": Spread(mean=0.1, deviation=0.1)}, num_images=400
)


@pytest.fixture
def run(make_run: Callable) -> Path:
    """A finished run of five images like those of its model's calibration."""
    made = make_run(5).run
    finalise(RunFolder(str(made)))
    return made


def record(run: Path, calibrated: CalibrationSet | None, **settings: object) -> Path:
    """Let the plan of a run say that its model was calibrated with this."""
    content = None if calibrated is None else calibrated.to_json()
    changes = {"calibrated": content, **settings}
    rewrite_json(run / plan_key(0), lambda plan: plan["settings"].update(changes))
    return run


def reason(run: Path) -> str | None:
    return why_uncalibrated(RunFolder(str(run)))


def call(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["possam", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code, *capsys.readouterr()


def text_of(content: object, capsys) -> str:
    from rich.console import Console

    Console(width=300).print(content)
    return capsys.readouterr().out


def test_grades_hold_for_the_model_classes_and_images_of_the_calibration_alone(run) -> None:
    assert reason(run) is None
    assert "classes of playground" in reason(record(run, CALIBRATED, vocabulary_sha256="12"))
    fitting = {"vocabulary_sha256": CALIBRATED.vocabulary_sha256}
    assert "no record" in reason(record(run, None, **fitting))
    assert "mean score 0.70, there 0.10" in reason(record(run, OF_DARK_IMAGES))


def test_an_unfinished_run_is_judged_by_its_rows_and_an_old_manifest_too(run) -> None:
    record(run, OF_DARK_IMAGES)
    finished = reason(run)
    manifest = run / "_manifest.json"
    rewrite_json(manifest, lambda content: content["totals"].pop("mean_coverage"))
    assert not list(verify_run(str(run)).problems)
    old = RunFolder(str(run))
    assert current_manifest(old, load_rounds(old)).totals.mean_coverage is None
    assert reason(run) == finished
    manifest.unlink()
    assert reason(run) == finished


def test_the_manifest_counts_the_coverage_and_verify_counts_it_again(run) -> None:
    rows = [row for shard in (0, 1) for row in read_rows(run, shard)]
    totals = json.loads((run / "_manifest.json").read_text())["totals"]
    assert totals["mean_coverage"] == sum(r["quality"]["coverage"] for r in rows) / 5
    rewrite_json(run / "_manifest.json", lambda m: m["totals"].update(mean_coverage=0.5))
    assert any("mean_coverage" in problem for problem in verify_run(str(run)).problems)


def test_a_plan_from_before_is_judged_by_the_model_if_it_is_still_the_same(run) -> None:
    tiny = {"model": "possam-tiny", "model_sha256": model_fingerprint("possam-tiny")}
    record(run, None, **tiny)
    assert reason(run) is None or "no record" not in reason(run)
    record(run, None, **tiny | {"model_sha256": "12"})
    assert "no record" in reason(run)


def test_the_model_that_ships_knows_what_its_grades_were_measured_with() -> None:
    card = read_card("possam-tiny")
    assert card.calibrated is not None
    assert card.calibrated.vocabulary_sha256 == card.vocabulary.fingerprint
    assert card.calibrated.num_images == 300


def test_what_is_known_before_the_first_image_is_said_in_one_line(run) -> None:
    def note() -> str | None:
        return starting_note(load_plan(RunFolder(str(run))).settings)

    assert note() is None
    record(run, CALIBRATED, model="possam-tiny")
    assert "drawn scenes of the playground" in note()
    record(run, CALIBRATED, model="possam-tiny", vocabulary="rooms", vocabulary_sha256="12")
    assert "--model fc-clip knows photographs; not calibrated here: " in note()
    assert "not with rooms" in note()
    record(run, CALIBRATED, model="mine.safetensors", vocabulary="rooms", vocabulary_sha256="12")
    assert note().startswith(f"{HERE}: ")


def test_statistics_and_label_say_it_and_count_no_grade(run, capsys) -> None:
    report = report_statistics(str(run))
    assert report.uncalibrated is None
    graded = report.statistics.grades
    assert set(graded) <= set("ABCD")
    record(run, OF_DARK_IMAGES)
    report = report_statistics(str(run))
    assert report.statistics.grades == {UNCALIBRATED: 5}
    assert report.to_json()["uncalibrated"] == report.uncalibrated
    shown = text_of(statistics_view(report), capsys)
    assert HERE in shown
    assert pq.read_table(run / "stats/grades.parquet")["grade"].to_pylist()[0] == UNCALIBRATED
    assert run_statistics(str(run), uncalibrated=True).grades == graded

    manifest = current_manifest(RunFolder(str(run)), load_rounds(RunFolder(str(run))))
    done = LabelReport(
        location=str(run), num_shards=2, manifest=manifest, uncalibrated=report.uncalibrated
    )
    shown = text_of(summarise(done), capsys)
    assert HERE in shown
    assert "uncalibrated 5" in shown
    assert to_record(done)["uncalibrated"] == report.uncalibrated


def test_a_limit_on_the_mean_grade_is_missed_where_grades_promise_nothing(run) -> None:
    record(run, OF_DARK_IMAGES)
    limits = Thresholds(min_mean_grade=1.0)
    (sentence,) = shortfalls(run_statistics(str(run)), limits)
    assert "not calibrated here" in sentence
    assert not shortfalls(run_statistics(str(run), uncalibrated=True), limits)


def test_choosing_by_grade_needs_uncalibrated_first(run, tmp_path, monkeypatch, capsys) -> None:
    assert open_run(str(run), where="grade <= 'D'").uncalibrated is None
    record(run, OF_DARK_IMAGES)
    export = ("export", run, "--format", "coco-panoptic", "--output", tmp_path / "out")
    for chosen in (("--min-grade", "B"), ("--where", "GRADE <= 'B'")):
        code, _, err = call(monkeypatch, capsys, *export, *chosen)
        assert (code, err.count("\n")) == (2, 1)
        assert HERE in err
        assert "--uncalibrated" in err
        assert "possam calibrate" in err
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match=HERE):
        open_run(str(run), where=pc.field("grade") <= "B")
    assert len(list(open_run(str(run), where="mean_score > 0.65"))) == 3
    assert len(list(open_run(str(run), where="grade <= 'D'", uncalibrated=True))) == 5
    code, _, err = call(monkeypatch, capsys, *export, "--min-grade", "D", "--uncalibrated")
    assert (code, err) == (0, "")


def test_exports_say_uncalibrated_in_place_of_every_grade(run, tmp_path) -> None:
    record(run, OF_DARK_IMAGES)

    def export(name: str) -> Path:
        output = tmp_path / name
        config = ExportConfig(
            run=str(run), output=str(output), format=ExportFormat(name), num_workers=1
        )
        run_export(config)
        return output

    coco = json.loads((export("coco-panoptic") / "annotations/panoptic_train.json").read_text())
    assert coco["info"]["grades"].startswith(HERE)
    assert {image["grade"] for image in coco["images"]} == {UNCALIBRATED}
    folder = export("huggingface")
    assert HERE in (folder / "README.md").read_text()
    (file,) = folder.glob("data/*00.parquet")
    assert set(pq.read_table(file)["grade"].to_pylist()) == {UNCALIBRATED}


def test_the_page_of_a_run_says_it_in_its_head(run, tmp_path) -> None:
    page = Path(write_report(str(run), str(tmp_path / "before")))
    assert HERE not in (page.parent / "data/head.js").read_text()
    record(run, OF_DARK_IMAGES)
    page = Path(write_report(str(run), str(tmp_path / "after")))
    head = json.loads((page.parent / "data/head.js").read_text().partition("(")[2].rstrip(";\n)"))
    assert head["notes"][0].startswith(HERE)
    assert ["Uncalibrated", "5"] in head["totals"]
    assert head["bar"] == [[UNCALIBRATED, 5]]


def test_people_keep_the_grade_of_what_they_have_corrected(run) -> None:
    record(run, OF_DARK_IMAGES)
    row = read_rows(run)[0] | {"author": "ada"}
    row["quality"] |= {"grade": "A", "reasons": ["corrected"], "mean_score": 0.1}
    (run / "corrections").mkdir()
    rows = pa.Table.from_pylist([row], schema=CORRECTION_SCHEMA)
    rows = rows.replace_schema_metadata({"schema_version": SCHEMA_VERSION})
    pq.write_table(rows, run / "corrections/00001-20260131T120000Z.parquet")
    assert "mean score 0.70" in reason(run)  # the model's own labels
    assert run_statistics(str(run)).grades == {"A": 1, UNCALIBRATED: 4}
