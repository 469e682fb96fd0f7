from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipelines.cli import main
from pipelines.cli.export import export_app
from pipelines.export import ExportFormat
from tests.pipelines.conftest import SmallRun


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of `possam ...`."""
    monkeypatch.setattr("sys.argv", ["possam", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def arguments(small: SmallRun, output: Path, format: str = "coco-panoptic") -> list[object]:
    return ["export", small.run, "--format", format, "--output", output, "--num-workers", 1]


def test_export_says_what_it_did_and_what_it_found(make_run, tmp_path, monkeypatch, capsys):
    asked = arguments(make_run(2), tmp_path / "out")
    assert run_command(monkeypatch, *asked) == 0
    assert capsys.readouterr().out.startswith("exported 2 images (2 train) with ")
    assert run_command(monkeypatch, *asked) == 0
    assert capsys.readouterr().out.startswith("found, with nothing left to export, 2 images")


def test_workers_that_filter_in_sql_end_without_a_word(make_run, tmp_path, monkeypatch, capfd):
    asked = arguments(make_run(4), tmp_path / "out")[:-1]
    assert run_command(monkeypatch, *asked, 2, "--where", "num_segments > 0") == 0
    printed = capfd.readouterr()
    assert printed.out.startswith("exported 4 images")
    assert printed.err == ""


def test_export_names_images_that_it_had_to_leave_out(make_run, tmp_path, monkeypatch, capsys):
    small = make_run(2)
    (small.images / "scene-00001.jpg").unlink()
    assert run_command(monkeypatch, *arguments(small, tmp_path / "out")) == 0
    error = capsys.readouterr().err
    assert "left out 1 image that can no longer be read (not_found), such as" in error
    assert "scene-00001.jpg" in error


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        (["--format", "coco"], "expected format on the command line to be 'coco-panoptic'"),
        (["--min-grade", "E"], "expected min_grade on the command line to be 'A', 'B', 'C' or 'D'"),
        (["--classes", "aple"], "did you mean 'apple' or"),
        (["--where", "grade <"], "expected a condition over the columns"),
    ],
)
def test_a_mistake_is_one_sentence(make_run, tmp_path, monkeypatch, capsys, flags, wrong):
    asked = [*arguments(make_run(1), tmp_path / "out"), *flags]
    assert run_command(monkeypatch, *asked) == 2
    error = capsys.readouterr().err
    assert wrong in error
    assert error.startswith("possam: ")
    assert error.count("\n") == 1


def test_a_place_without_a_run_is_one_sentence(tmp_path, monkeypatch, capsys):
    asked = ["export", tmp_path, "--format", "fiftyone", "--output", tmp_path / "out"]
    assert run_command(monkeypatch, *asked) == 2
    assert "expected a run with labels" in capsys.readouterr().err


def test_the_help_names_every_format():
    text = CliRunner().invoke(export_app, ["--help"], env={"COLUMNS": "200"}).output
    words = " ".join(text.replace("│", " ").split())
    assert all(format in words for format in ExportFormat)
    assert isinstance(export_app, typer.Typer)
