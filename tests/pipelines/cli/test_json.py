"""`--json` means one thing: the result as one JSON document on stdout, and nothing else there."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.cli.overview import COMMANDS
from pipelines.run.finalise import finalise
from pipelines.run.folder import RunFolder

Call = Callable[..., tuple[int, Any]]
WITHOUT = {"playground", "demo", "config"}  # print files' places, or JSON as it is


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls the command with these arguments and --json: its exit code, and what it printed."""

    def run(*arguments: object) -> tuple[int, Any]:
        monkeypatch.setattr(sys, "argv", ["possam", *map(str, arguments), "--json"])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        assert out, err

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        return int(caught.value.code or 0), json.loads(out, parse_constant=refuse)

    return run


def test_every_command_that_reports_has_the_flag(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    pages = [[name] for name in COMMANDS if name not in WITHOUT | {"weights", "vocabulary"}]
    pages += [["weights", "list"], *(["vocabulary", verb] for verb in ("list", "show", "lint"))]
    for page in pages:
        monkeypatch.setattr(sys, "argv", ["possam", *page, "--help"])
        with pytest.raises(SystemExit):
            main()
        text = capsys.readouterr().out
        assert "print the result as one JSON document" in " ".join(text.split()), page


def test_commands_about_a_run_print_one_document(call: Call, make_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    small = make_run(num_images=3, damage={1: b""})
    code, verified = call("verify", small.run)
    assert (code, verified["is_complete"], len(verified["problems"])) == (1, False, 1)
    finalise(RunFolder(str(small.run)))
    assert call("status", small.run)[1]["state"] == "finalised"
    assert [entry["num_images"] for entry in call("errors", small.run)[1]["codes"]] == [1]
    code, verified = call("verify", small.run)
    assert (code, verified["problems"], verified["num_images"]) == (0, [], 3)
    assert call("stats", small.run)[1]["num_planned"] == 3
    compacted = call("compact", small.run)[1]
    assert (compacted["is_new"], sum(file["rows"] for file in compacted["files"])) == (True, 3)
    page = call("report", small.run, "--output", tmp_path / "page")[1]["page"]
    assert Path(page).is_file()


def test_a_comparison_of_two_runs_is_one_document(call: Call, make_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    small = make_run(2)
    code, compared = call("compare", small.run, small.run, "--output", tmp_path / "page")
    assert (code, compared["num_images"], compared["changed"]) == (0, 2, 0.0)
    assert compared["quality"]["all"]["pq"] == 1.0


def test_an_export_and_its_second_call_print_one_document(
    call: Call, make_run, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    small = make_run(2)
    asked = ("export", small.run, "--format", "coco-panoptic", "--output", tmp_path / "out")
    assert call(*asked, "--num-workers", 1)[1]["num_images"] == {"train": 2}
    assert call(*asked, "--num-workers", 1)[1]["num_exported"] == 0


def test_a_plan_is_one_document(call: Call, make_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    images = make_run(2).images
    code, planned = call("plan", images, "--output", tmp_path / "other", "--shard-size", 1)
    assert (code, planned["num_images"], planned["num_shards"]) == (0, 2, 2)
    assert planned["location"] == str(tmp_path / "other")


def test_vocabularies_and_weights_are_one_document(call: Call) -> None:
    sizes = {entry["name"]: entry["classes"] for entry in call("vocabulary", "list")[1]}
    assert sizes["playground"] == 48
    shown = call("vocabulary", "show", "playground")[1]
    assert (shown["name"], len(shown["classes"])) == ("playground", 48)
    assert call("vocabulary", "lint", "playground")[1]["num_classes"] == 48
    assert "vit_b" in {weights["name"] for weights in call("weights", "list")[1]}


def test_a_mistake_prints_nothing_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["possam", "status", str(tmp_path), "--json"])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
