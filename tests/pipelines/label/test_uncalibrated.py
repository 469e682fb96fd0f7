"""possam-tiny labels images unlike the playground, and nobody is promised a grade."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from flows.export_dataset import export_table
from pipelines.export import ExportConfig, ExportFormat, run_export
from pipelines.label.session import run_label
from pipelines.label.summary import summarise
from pipelines.report import write_report
from pipelines.settings.label import LabelConfig
from pipelines.stats.report import report_statistics
from pipelines.stats.view import statistics_view
from possam_core.errors import ConfigError
from possam_core.playground import write_corpus
from tests.factories import encode

HERE = "not calibrated here: its images are unlike those"
NUM_IMAGES = 12


def text_of(content: object) -> str:
    stream = io.StringIO()
    Console(file=stream, width=400).print(content)
    return stream.getvalue()


def write_photographs(folder: Path) -> None:
    """Blurred blots with the grain of a camera; no line is drawn in them."""
    folder.mkdir()
    for number in range(NUM_IMAGES):
        rng = np.random.default_rng(number)
        blots = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        smooth = np.asarray(blots.resize((240, 180), Image.Resampling.BICUBIC), np.float64)
        grain = rng.normal(0, 12, smooth.shape)
        pixels = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        (folder / f"{number}.jpg").write_bytes(encode(pixels))


@pytest.mark.usefixtures("ray_cluster")
def test_photographs_labelled_by_possam_tiny_have_no_grade_anywhere(tmp_path: Path) -> None:
    images, run = tmp_path / "images", str(tmp_path / "run")
    write_photographs(images)
    console = Console(file=io.StringIO(), width=80)
    config = LabelConfig(images=str(images), output=run, num_workers=1)
    report = run_label(config, console=console)
    first = console.file.getvalue().splitlines()[0]  # type: ignore[attr-defined]
    assert "possam-tiny knows nothing but drawn scenes of the playground" in first
    assert HERE in text_of(summarise(report))
    assert f"uncalibrated {NUM_IMAGES}" in text_of(summarise(report))
    assert HERE in text_of(statistics_view(report_statistics(run)))
    page = Path(write_report(run))
    assert HERE in (page.parent / "data/head.js").read_text()
    coco = {"run": run, "format": ExportFormat.COCO_PANOPTIC, "num_workers": 1}
    with pytest.raises(ConfigError, match="--uncalibrated"):
        run_export(ExportConfig(**coco, output=str(tmp_path / "good"), min_grade="B"))
    report = run_export(ExportConfig(**coco, output=str(tmp_path / "all")))
    assert {row["figure"]: row["value"] for row in export_table(report)}["grades"].startswith(HERE)
    content = json.loads((tmp_path / "all/annotations/panoptic_train.json").read_text())
    assert content["info"]["grades"].startswith(HERE)
    assert {image["grade"] for image in content["images"]} == {"uncalibrated"}


@pytest.mark.usefixtures("ray_cluster")
def test_scenes_of_the_playground_keep_their_grades(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", num_images=NUM_IMAGES, seed=2_000_003)
    config = LabelConfig(
        images=str(tmp_path / "corpus/images"), output=str(tmp_path / "run"), num_workers=1
    )
    report = run_label(config, console=Console(file=io.StringIO()))
    assert report.uncalibrated is None
    assert set(report_statistics(str(tmp_path / "run")).statistics.grades) <= set("ABCD")
