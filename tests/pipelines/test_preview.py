"""Tests of pipelines.preview: the page is looked at in a headless browser where there is one."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from pipelines import preview
from pipelines.preview import write_preview
from possam_core.errors import ConfigError

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SPOILED = {1: b"", 3: b"<html><script>alert(1)</script>"}


class References(HTMLParser):
    """Collects all that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        self.found += [value or "" for name, value in attrs if name in {"src", "href", "srcset"}]


def grades_in(page: str) -> list[str]:
    return re.findall(r'<article class="card" data-grade="(.)"', page)


def test_the_page_lies_in_the_run_unless_told_otherwise(make_run, tmp_path):
    small = make_run(2)
    assert write_preview(str(small.run)) == small.run / "report" / "preview.html"
    elsewhere = tmp_path / "a" / "b.html"
    assert write_preview(str(small.run), elsewhere) == elsewhere
    assert elsewhere.read_text() == (small.run / "report" / "preview.html").read_text()


def test_the_page_loads_nothing_from_outside(make_run):
    page = write_preview(str(make_run(4, spoil=SPOILED).run)).read_text()
    references = References()
    references.feed(page)
    assert len(references.found) == 4  # a photo and an overlay of two labelled images
    assert all(r.startswith("data:image/") for r in references.found)
    assert not re.search(r"https?://|url\(|@import", page)


def test_what_came_from_outside_is_escaped(make_run):
    page = write_preview(str(make_run(4, spoil=SPOILED).run)).read_text()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;" in page
    assert "the &lt;truth&gt;" in page


def test_the_head_counts_images_errors_and_grades(make_run):
    page = write_preview(str(make_run(6, spoil=SPOILED).run)).read_text()
    totals = dict(re.findall(r"<dt>([^<]+)</dt><dd>([\d,]+)</dd>", page))
    assert (totals["Images"], totals["Labelled"], totals["Errors"]) == ("6", "4", "2")
    assert sum(int(totals[f"Grade {grade}"]) for grade in "ABCD") == 4
    assert "empty · 1" in page
    assert "not_an_image · 1" in page


def test_images_come_worst_first(make_run):
    page = write_preview(str(make_run(6).run)).read_text()
    grades = grades_in(page)
    assert len(grades) == 6
    assert grades == sorted(grades, reverse=True)
    scores = [float(s) for s in re.findall(r"mean score (\d\.\d\d)", page)]
    keys = [(-ord(grade), score) for grade, score in zip(grades, scores, strict=True)]
    assert keys == sorted(keys)
    assert len(set(scores)) == 5


def test_only_the_worst_images_are_embedded_and_the_page_says_so(make_run, monkeypatch):
    small = make_run(7)
    everything = grades_in(write_preview(str(small.run)).read_text())
    monkeypatch.setattr(preview, "MAX_IMAGES", 2)
    page = write_preview(str(small.run)).read_text()
    assert grades_in(page) == everything[:2]
    assert "The 2 worst of 7 labelled images" in page


def test_more_errors_than_listed_are_counted(make_run, monkeypatch):
    monkeypatch.setattr(preview, "MAX_FAILURES", 1)
    page = write_preview(str(make_run(4, spoil={1: b"", 2: b"", 3: b""}).run)).read_text()
    assert "empty · 3" in page
    assert "and 2 more" in page


def test_an_image_that_is_gone_or_changed_since_shows_its_overlay_alone(make_run):
    small = make_run(3)
    (small.images / "scene-00000.jpg").unlink()
    (small.images / "scene-00001.jpg").write_bytes(b"other")
    page = write_preview(str(small.run)).read_text()
    assert page.count("can no longer be read") == 2
    assert page.count('class="overlay"') == 3
    assert page.count('class="photo"') == 1


def test_a_run_of_errors_only_still_gives_a_page(make_run):
    page = write_preview(str(make_run(2, spoil={0: b"", 1: b""}).run)).read_text()
    assert "No image of this run has labels." in page


def test_a_place_that_cannot_be_written_is_refused(make_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="choose another --output"):
        write_preview(str(make_run(1).run), tmp_path / "file" / "preview.html")


@pytest.fixture
def browser_page() -> Iterator[Page]:
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser.new_page()
        browser.close()


def test_the_page_works_in_a_browser_without_network_or_console_errors(make_run, browser_page):
    output = write_preview(str(make_run(6, spoil=SPOILED).run))
    messages: list[str] = []
    requests: list[str] = []
    browser_page.on("console", lambda message: messages.append(message.text))
    browser_page.on("pageerror", lambda error: messages.append(str(error)))
    browser_page.on("request", lambda request: requests.append(request.url))
    browser_page.goto(output.as_uri())

    overlays = browser_page.locator(".overlay")
    assert overlays.count() == 4
    assert overlays.first.is_visible()
    assert browser_page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    shown = browser_page.locator(".card").evaluate_all(
        "(cards) => cards.map((card) => card.dataset.grade)"
    )
    assert shown == sorted(shown, reverse=True)

    browser_page.get_by_label("Overlays").uncheck()
    assert not overlays.first.is_visible()
    browser_page.get_by_label("Overlays").check()
    browser_page.get_by_label("Opacity").fill("30")
    assert overlays.first.evaluate("(image) => getComputedStyle(image).opacity") == "0.3"
    browser_page.locator(".picture").first.press("Enter")
    assert [overlays.nth(i).is_visible() for i in (0, 1)] == [False, True]
    browser_page.get_by_label(shown[0], exact=True).uncheck()
    assert browser_page.locator(".card:visible").count() == sum(g != shown[0] for g in shown)

    assert messages == []
    assert [url for url in requests if not url.startswith("data:")] == [output.as_uri()]
