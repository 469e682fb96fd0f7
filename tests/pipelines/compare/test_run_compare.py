"""Tests of pipelines.compare: two runs of the same images, and the page that shows both."""

import io
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect
from rich.console import Console
from typer.testing import CliRunner

from pipelines.cli.command import app
from pipelines.compare import ComparisonReport, compare_runs
from possam_core.errors import ConfigError
from tests.pipelines.browser import WatchedPage
from tests.pipelines.report.hand_made import TRUNCATED, Labels, halves, write_run
from tests.pipelines.report.reading import read_column, read_head, read_pictures

IDS = np.repeat([[1, 1, 1, 1], [2, 2, 2, 2]], 24, axis=0).repeat(16, axis=1).astype(np.int32)
TOP_AND_BOTTOM = Labels(ids=IDS, names=("cat", "sky"))

A = {
    "a.png": halves("cat", "sky"),
    "b.png": halves("cat", "dog"),
    "c.png": halves("cat", "sky"),
    "d.png": TRUNCATED,
    "e.png": halves("dog", "sky"),
}
B = {
    "a.png": halves("cat", "sky"),
    "b.png": halves("dog", "dog", score=0.5),
    "c.png": TOP_AND_BOTTOM,
    "d.png": TRUNCATED,
    "e.png": TRUNCATED,
}


@pytest.fixture
def runs(tmp_path) -> tuple[str, str]:
    """B names its classes by other ids, and cuts the corpus into other shards."""
    a = write_run(tmp_path / "a", A, shard_size=2)
    classes = ("sky", "grass", "dog", "cat")
    b = write_run(
        tmp_path / "b", B, classes=classes, shard_size=3, images=tmp_path / "a" / "images"
    )
    return a, b


def printed(report: ComparisonReport) -> str:
    console = Console(file=io.StringIO(), width=150)
    console.print(report.to_terminal())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_run_with_itself_is_all_zeros_and_pq_100(runs):
    report = compare_runs(runs[0], runs[0])
    comparison = report.comparison
    assert comparison.changed == 0
    assert comparison.quality()["all"].pq == 1
    assert comparison.largest_flows(9) == []
    for shift in comparison.class_shifts():
        assert shift.area_change == 0
        assert shift.images[0] == shift.images[1]
        assert shift.segments[0] == shift.segments[1]
        assert shift.quality.pq == 1
    folder = Path(report.page).parent
    assert read_column(folder, "changed") == [0, 0, 0, None, 0]
    assert read_column(folder, "pq") == [100, 100, 100, None, 100]
    assert "0.00 % of their pixels have another class" in printed(report)


def test_two_runs_differ_as_one_counts_by_hand(runs):
    comparison = compare_runs(*runs).comparison
    assert dict(comparison.outcomes) == {"in both": 3, "in A only": 1, "in neither": 1}
    # Of four compared images: half of b, a quarter of c twice, all of e.
    assert comparison.changed == (0.5 + 0.5 + 1) / 4
    shifts = {shift.name: shift for shift in comparison.class_shifts()}
    assert shifts["cat"].images == (3, 2)
    assert shifts["dog"].segments == (2, 2)
    # In halves of an image, of eight in all: cat 3 -> 2, dog 2 -> 2, sky 3 -> 2.
    assert shifts["cat"].area == (3 / 8, 2 / 8)
    assert shifts["dog"].area == (2 / 8, 2 / 8)
    assert shifts["sky"].area_change == -1 / 8
    # Cats: a matches; those of b and c are missed, and the one of c in B is made up: 1 / 2.5.
    assert shifts["cat"].quality.pq == pytest.approx(1 / 2.5)
    assert shifts["sky"].quality.pq == pytest.approx(1 / 2.5)
    # Dogs: the right one of b matches; the left one is made up, that of e is missed: 1 / 2.
    assert shifts["dog"].quality.pq == pytest.approx(1 / 2)
    assert comparison.quality()["all"].pq == pytest.approx((0.4 + 0.4 + 0.5) / 3)
    assert comparison.quality()["stuff"].num_classes == 1
    flows = {(a, b): share for a, b, share in comparison.largest_flows(9)}
    assert flows == {
        ("cat", "dog"): 1 / 8,
        ("dog", ""): 1 / 8,
        ("sky", ""): 1 / 8,
        ("cat", "sky"): 1 / 16,
        ("sky", "cat"): 1 / 16,
    }


def test_what_is_printed_names_shifts_flows_and_the_page(runs):
    report = compare_runs(*runs)
    text = printed(report)
    assert "cat → dog" in text
    assert "dog → (void)" in text
    assert "3 labelled in both, 1 labelled in A only, 1 labelled in neither" in text.replace(
        "\n", " "
    )
    assert report.page.removeprefix(runs[1])[:16] == "/report/compare-"
    assert report.page in text.replace("\n", "")


def test_images_that_changed_most_come_first_with_the_labels_of_both_runs(runs):
    folder = Path(compare_runs(*runs).page).parent
    names = read_column(folder, "names")
    head = read_head(folder)
    assert [names[row] for row in head["pictures"]] == ["e.png", "c.png", "b.png", "a.png"]
    e, c, _, _ = read_pictures(folder)
    assert [layer["overlay"] is None for layer in e["layers"]] == [False, True]
    assert [s[1] for s in c["layers"][0]["segments"]] == ["cat", "sky"]
    assert c["layers"][0]["overlay"] != c["layers"][1]["overlay"]
    assert c["photo"]


def test_images_of_one_run_only_are_left_out_and_counted(runs, tmp_path):
    more = {**B, "f.png": halves("cat", "sky")}
    other = write_run(tmp_path / "more", more, images=tmp_path / "a" / "images")
    comparison = compare_runs(runs[0], other).comparison
    assert comparison.num_images == 5
    assert comparison.num_only_in == (0, 1)
    assert compare_runs(other, runs[0]).comparison.num_only_in == (1, 0)


def test_runs_without_a_common_image_are_refused(runs, tmp_path):
    other = write_run(tmp_path / "other", {"z.png": halves("cat", "sky")})
    with pytest.raises(ConfigError, match="none in common"):
        compare_runs(runs[0], other)


def test_the_page_shows_both_runs_side_by_side_and_filters_by_what_became_what(runs, browser):
    watched = WatchedPage(browser)
    page = watched.open(compare_runs(*runs).page)
    page.set_viewport_size({"width": 1200, "height": 1200})
    expect(page.locator("#status")).to_have_text("5 of 5 images")
    card = page.locator("#card-1")
    assert card.locator(".name").text_content() == "c.png"
    assert card.locator(".panel-name").all_text_contents() == ["A run", "B run"]
    expect(card.locator(".overlay:visible")).to_have_count(2)
    expect(card.locator(".facts")).to_have_text(
        "0.50 of the pixels changed · PQ 0.0 % · 2 segments in A · 2 in B"
    )
    boxes = [panel.bounding_box() for panel in card.locator(".panel").all()]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert page.locator("#card-0 .note").all_text_contents() == ["", "truncated"]
    page.get_by_label("cat → dog").check()
    expect(page.locator("#status")).to_have_text("1 of 5 images")
    expect(page.locator(".card .name")).to_have_text("b.png")
    assert watched.messages == []
    assert {url.partition(":")[0] for url in watched.requests} <= {"file", "data"}


def test_the_command_prints_the_comparison(runs, tmp_path):
    command = ["compare", *runs, "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "What became what" in result.output
    assert (tmp_path / "out" / "index.html").exists()
