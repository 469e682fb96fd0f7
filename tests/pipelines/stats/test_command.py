"""Tests of `possam stats`."""

import json
import sys

import pytest

from pipelines.cli import main
from pipelines.stats import Statistics, run_statistics


@pytest.fixture
def call(monkeypatch, capsys):
    """Calls the command with these arguments; its exit code, and what it printed."""

    def run(*arguments: object, columns: int = 200) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["possam", "stats", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capsys.readouterr()

    return run


def test_people_read_totals_grades_classes_and_errors(call, make_run) -> None:
    small = make_run(5, damage={1: b"no image"})
    code, out, _ = call(small.run)
    found = run_statistics(str(small.run))
    assert code == 0
    assert f"5 of 5 images, 4 labelled with {found.num_segments} segments, 1 failed" in out
    assert "corrected" not in out
    for title in ("grades", "labelled images", "segments by size", "segments by score"):
        assert title in out
    most = max(found.by_class().items(), key=lambda item: item[1].num_segments)[0].name
    assert most in out
    assert "not_an_image" in out
    assert "drift" not in out


@pytest.mark.parametrize("columns", [80, 200])
def test_a_narrow_terminal_loses_no_word_and_no_figure(call, make_run, columns: int) -> None:
    small = make_run(3, damage={1: b"no image"})
    code, out, _ = call(small.run, "--against", small.run, columns=columns)
    assert code == 0
    assert "1 failed" in out
    assert f"drift from {small.run}" in out.replace("\n", "")
    for heading in ("segments", "share", "p05", "p50", "p95", "IoU", "margin", "stable", "CLIP"):
        assert f" {heading}" in out
    assert "…" not in out


def test_programs_read_json_that_gives_the_statistics_back(call, make_run) -> None:
    small = make_run(4)
    code, out, _ = call(small.run, "--json")
    content = json.loads(out)
    assert (code, content["num_planned"], content["drift"]) == (0, 4, None)
    assert Statistics.from_json(content["statistics"]) == run_statistics(str(small.run))
    by_size, by_score = (
        sum(row["num_segments"] for row in content["tables"][name]) for name in ("sizes", "scores")
    )
    assert by_size == by_score > 0


def test_a_run_has_not_drifted_from_itself(call, make_run) -> None:
    small = make_run(4)
    code, out, _ = call(small.run, "--against", small.run)
    assert code == 0
    assert out.count("steady") == 3
    assert out.count("0.000") == 3
    drift = json.loads(call(small.run, "--against", small.run, "--json")[1])["drift"]
    assert drift["worst"] == 0.0


def test_a_run_of_errors_only_has_a_report(call, make_run) -> None:
    small = make_run(2, damage={0: b"", 1: b""})
    code, out, _ = call(small.run)
    assert code == 0
    assert "2 of 2 images, 0 labelled with 0 segments, 2 failed" in out
    assert "100.0%" in out


def test_a_reference_that_is_no_run_is_one_sentence(call, make_run, tmp_path) -> None:
    small = make_run(1)
    code, out, err = call(small.run, "--against", tmp_path / "absent")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "absent" in err
