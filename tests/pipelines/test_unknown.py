"""A run of a teacher that knows neither IoU nor CLIP nor its training classes, read everywhere."""

import io
import json
from pathlib import Path

import pyarrow.compute as pc
import pytest
from playwright.sync_api import Browser, expect
from rich.console import Console, RenderableType

from pipelines.compare.run_compare import compare_runs
from pipelines.export.config import ExportConfig
from pipelines.export.export_format import ExportFormat
from pipelines.export.run import run_export
from pipelines.monitor.status import read_status
from pipelines.monitor.status_table import status_table
from pipelines.reader import open_run
from pipelines.report import write_report
from pipelines.run.plan import TeacherRecord
from pipelines.stats.report import report_statistics
from pipelines.stats.view import statistics_view
from pipelines.verify import verify_run
from possam_core.errors import ConfigError
from tests.pipelines.browser import WatchedPage
from tests.pipelines.report.hand_made import TRUNCATED, halves, write_run
from tests.pipelines.report.reading import read_head

UNKNOWN = ("predicted_iou", "margin", "stability_score", "entropy", "clip_agrees", "is_seen")
TEACHER = TeacherRecord(
    name="their-model", revision="v2", licence=None, files={"head.pth": "ab12", "clip.bin": "cd34"}
)
SAID = "their-model (revision v2, licence not known)"


def write_unknown(folder: Path) -> str:
    """Two labelled images, one that is all void, and one that failed."""
    labels = {
        "a.png": halves("cat", "sky", score=0.6, unknown=UNKNOWN),
        "b.png": halves("dog", "sky", unknown=UNKNOWN),
        "c.png": TRUNCATED,
    }
    return write_run(folder, labels, teacher=TEACHER)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_unknown(tmp_path_factory.mktemp("unknown"))


def text_of(shown: RenderableType) -> str:
    console = Console(width=200, file=io.StringIO())
    with console.capture() as captured:
        console.print(shown)
    return captured.get()


def test_segments_come_back_without_what_is_not_known(run: str) -> None:
    first, second = open_run(run)
    for segment in (*first.segmentation.segments, *second.segmentation.segments):
        assert [getattr(segment, name) for name in UNKNOWN] == [None] * len(UNKNOWN)
    assert first.row["quality"]["mean_predicted_iou"] is None
    assert (first.row["quality"]["grade"], first.row["quality"]["reasons"]) == ("B", ["low_score"])
    assert second.row["quality"]["grade"] == "A"
    assert verify_run(run).problems == ["_manifest.json: is missing, so the run is not finished"]


@pytest.mark.parametrize(
    "where",
    ["mean_predicted_iou > 0.5", "Entropy < 1 or true", pc.field("clip_agreement") > 0.5],
)
def test_a_condition_on_what_no_row_knows_is_refused(run: str, where: object) -> None:
    with pytest.raises(ConfigError, match=r"which this model does not estimate for any image; le"):
        open_run(run, where=where)
    assert len(list(open_run(run, where="mean_score > 0.7"))) == 1


def test_a_condition_on_what_one_row_knows_is_taken(tmp_path: Path) -> None:
    labels = {
        "a.png": halves("cat", "sky", unknown=UNKNOWN),
        "b.png": halves("dog", "sky"),
    }
    run = write_run(tmp_path, labels, shard_size=1)
    (kept,) = open_run(run, where="mean_predicted_iou > 0.5 and entropy < 0.5")
    assert kept.uri.endswith("b.png")


def test_a_condition_on_a_run_without_segments_is_taken(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"a.png": TRUNCATED})
    assert list(open_run(run, where="mean_predicted_iou > 0.5")) == []


def test_statistics_say_what_is_not_known_and_who_labelled(run: str) -> None:
    report = report_statistics(run)
    text = text_of(statistics_view(report))
    assert f"; labelled by {SAID}" in text
    assert (
        "not known: predicted_iou of 4, margin of 4, stability_score of 4, entropy of 4,"
        " clip_agrees of 4, is_seen of 4 of 4 segments" in text
    )
    lines = [line.split() for line in text.splitlines()]
    assert ["mean_predicted_iou", "0", "not", "known"] in lines
    (cat,) = (line for line in lines if line[:2] == ["cat", "1"])
    assert cat == ["cat", "1", "25.0%", "0.60", "0.60", "0.61", "-", "-", "-", "-"]
    assert report.to_json()["teacher"] == TEACHER.to_json()
    assert not any(line[:1] == ["consistency"] for line in lines)


def test_the_status_names_the_teacher(run: str) -> None:
    status = read_status(run)
    assert SAID in text_of(status_table(status))
    assert status.to_json()["teacher"]["files"] == TEACHER.files


def test_the_report_says_not_known(run: str, browser: Browser, tmp_path: Path) -> None:
    address = write_report(run, str(tmp_path / "page"))
    head = read_head(tmp_path / "page")
    assert dict(head["provenance"])["Teacher"] == SAID
    expected = "head.pth (sha256 ab12), clip.bin (sha256 cd34)"
    assert dict(head["provenance"])["Files of the teacher"] == expected
    watched = WatchedPage(browser)
    page = watched.open(address)
    # The failed image counts for no measure.
    expect(page.locator(".chart .missing").first).to_have_text("")
    page.locator(".chart select").first.select_option("mean_predicted_iou")
    expect(page.locator(".chart .missing").first).to_have_text("2 not known")
    page.keyboard.press("Enter")
    facts = page.locator("#detail dl.facts")
    expect(facts).to_contain_text("mean predicted IoUnot known")
    expect(facts).to_contain_text("CLIP agreementnot known")
    expect(facts).not_to_contain_text("consistency")
    page.close()
    assert watched.messages == []


def test_a_comparison_with_itself_knows_no_seen_classes(run: str, tmp_path: Path) -> None:
    report = compare_runs(run, run, str(tmp_path / "page"))
    assert set(report.comparison.quality()) == {"all", "things", "stuff"}


@pytest.mark.parametrize(
    ("format", "file"),
    [
        (ExportFormat.COCO_PANOPTIC, "annotations/panoptic_train.json"),
        (ExportFormat.COCO_INSTANCES, "annotations/instances_train.json"),
        (ExportFormat.DETECTRON2, "panoptic_train.json"),
        (ExportFormat.FIFTYONE, "train/labels.json"),
        (ExportFormat.HUGGINGFACE, None),
        (ExportFormat.LABEL_STUDIO, None),
        (ExportFormat.SEMANTIC_PNG, None),
        (ExportFormat.WEBDATASET, None),
    ],
)
def test_every_export_names_the_teacher(
    run: str, tmp_path: Path, format: ExportFormat, file: str | None
) -> None:
    output = tmp_path / "out"
    run_export(ExportConfig(run=run, output=str(output), format=format, num_workers=1))
    provenance = json.loads((output / "provenance.json").read_text())
    assert provenance["teacher"] == TEACHER.to_json()
    if file is not None:
        assert json.loads((output / file).read_text())["info"]["teacher"] == TEACHER.to_json()
    if format is ExportFormat.HUGGINGFACE:
        card = (output / "README.md").read_text()
        assert "| teacher, name | their-model |\n| teacher, revision | v2 |" in card
        assert "| teacher, licence | not known |" in card
        assert "| teacher, sha256 of head.pth | ab12 |" in card
    if format is ExportFormat.LABEL_STUDIO:
        (tasks,) = (output / "tasks").glob("*.json")
        versions = {
            p["model_version"] for t in json.loads(tasks.read_text()) for p in t["predictions"]
        }
        assert versions == {"their-model"}
