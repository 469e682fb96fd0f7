"""Tests of the viewer's scripts, in a browser: a report of 60 images whose every label is known."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import fsspec
import pytest
from playwright.sync_api import Browser, Page, expect

from pipelines.report import write_report
from tests.pipelines.browser import WatchedPage
from tests.pipelines.report.hand_made import TRUNCATED, halves, write_run

NUM_IMAGES = 60
WORST = "image-59.png"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Scores fall from 0.996 to 0.406; every tenth image has failed; cats and dogs take turns."""
    labels = {
        f"image-{i:02d}.png": TRUNCATED
        if i % 10 == 0
        else halves(
            "cat" if i % 2 else "dog", "grass" if i >= 30 else "sky", score=0.996 - 0.01 * i
        )
        for i in range(NUM_IMAGES)
    }
    run = write_run(tmp_path_factory.mktemp("viewer"), labels)
    return write_report(run)


@pytest.fixture
def watched(browser: Browser) -> Iterator[WatchedPage]:
    """A page that has logged no errors and sent no requests, by the end of the test."""
    watched = WatchedPage(browser)
    yield watched
    watched.page.close()
    assert watched.messages == []
    assert {url.partition(":")[0] for url in watched.requests} <= {"file", "data"}


@pytest.fixture
def page(watched: WatchedPage, index: str) -> Page:
    return watched.open(index)


@pytest.fixture
def drawn_page(watched: WatchedPage, index: str) -> Page:
    return watched.open(index, state="drawn")


def shown(page: Page) -> list[str]:
    """Names of the cards, in order."""
    return page.locator(".card").evaluate_all(
        "(cards) => cards.sort((a, b) => a.dataset.index - b.dataset.index)"
        ".map((card) => card.querySelector('.name').textContent)"
    )


def current(page: Page) -> str | None:
    return page.locator(".card[aria-selected=true] .name").text_content()


def facet(page: Page, key: str, value: str) -> str:
    """The check box of a value."""
    return f"[data-facet={key}] li:has(.value:text-is('{value}'))"


def test_it_opens_from_disk_and_reads_nothing_but_its_own_files(watched, drawn_page, index):
    folder = Path(index).parent
    files = [unquote(url.partition("?")[0]) for url in watched.requests if url.startswith("file:")]
    assert all(url.startswith(folder.as_uri()) for url in files)
    expect(drawn_page.locator("#status")).to_have_text("60 of 60 images")
    assert shown(drawn_page)[:3] == [WORST, "image-58.png", "image-57.png"]
    expect(drawn_page.locator(".card").first.locator(".photo")).to_be_visible()
    widths = drawn_page.locator(".photo:visible, .overlay:visible").evaluate_all(
        "(images) => images.map((image) => image.naturalWidth)"
    )
    assert len(widths) >= 8
    assert all(widths)
    assert drawn_page.locator(".plot .bars").count() == 2 * 3


def test_it_opens_from_a_bucket_and_sends_no_other_requests(browser, tmp_path, s3_server):
    s3 = fsspec.filesystem("s3", endpoint_url=s3_server)
    s3.makedirs("sites", exist_ok=True)
    run = write_run(tmp_path, {"a.png": halves("cat", "sky"), "b.png": TRUNCATED})
    write_report(run, f"s3://sites/{tmp_path.name}")
    s3.chmod(f"sites/{tmp_path.name}", "public-read", recursive=True)
    watched = WatchedPage(browser)
    page = watched.open(f"{s3_server}/sites/{tmp_path.name}/index.html", state="drawn")
    expect(page.locator("#status")).to_have_text("2 of 2 images")
    expect(page.locator(".card .photo").first).to_be_visible()
    assert page.locator(".plot .bars").count() == 2 * 3
    asked = {url for url in watched.requests if not url.startswith("data:")}
    assert {url[: len(s3_server) + 7] for url in asked} == {f"{s3_server}/sites/"}
    assert watched.messages == []
    page.close()


def test_facets_filter_and_count_what_the_others_keep(page):
    assert page.locator(facet(page, "error", "truncated")).inner_text().split() == [
        "truncated",
        "6",
    ]
    page.locator(facet(page, "class", "cat")).locator("input").check()
    expect(page.locator("#status")).to_have_text("30 of 60 images")  # the odd ones
    page.locator(facet(page, "class", "grass")).locator("input").check()
    expect(page.locator("#status")).to_have_text("42 of 60 images")  # and 32, 34, 36, 38, 42, ...
    page.locator(facet(page, "grade", "A")).locator("input").check()
    expect(page.locator("#status")).to_have_text("15 of 60 images")  # with 0.70 or more: to 29
    cats = page.locator(facet(page, "class", "dog")).locator(".count")
    expect(cats).to_have_text("12")  # even, to 28, but for 0, 10 and 20
    page.keyboard.press("c")
    expect(page.locator("#status")).to_have_text("60 of 60 images")
    assert page.locator("#facets input:checked").count() == 0


def test_images_that_failed_are_listed_with_their_message(page):
    page.locator("summary", has_text="Images without labels: truncated 6").click()
    page.get_by_role("button", name="show", exact=True).click()
    expect(page.locator("#status")).to_have_text("6 of 60 images")
    expect(page.locator(facet(page, "error", "truncated")).locator("input")).to_be_checked()
    expect(page.locator(".card .note").first).to_have_text("it ends after 3 bytes")
    assert shown(page)[0] == "image-00.png"


def test_search_finds_parts_of_names_and_escape_leaves_the_box(page):
    page.keyboard.press("/")
    page.keyboard.type("AGE-3")
    expect(page.locator("#status")).to_have_text("10 of 60 images")
    page.keyboard.press("o")
    expect(page.locator("#search")).to_have_value("AGE-3o")
    page.keyboard.press("Backspace")
    page.keyboard.press("Escape")
    page.keyboard.press("o")
    expect(page.locator("#overlay")).not_to_be_checked()


def test_images_are_sorted_by_any_measure_either_way_round(page):
    page.get_by_label("Sort").select_option(label="mean score")
    assert shown(page)[:2] == [WORST, "image-58.png"]
    page.locator("#direction").click()
    assert shown(page)[:2] == ["image-01.png", "image-02.png"]
    page.get_by_label("Sort").select_option(label="name")
    assert shown(page)[0] == WORST
    page.locator("#direction").click()
    assert shown(page)[:2] == ["image-00.png", "image-01.png"]


def test_images_are_sorted_by_class_and_by_error(page):
    page.get_by_label("Sort").select_option(label="class")
    # Cats are the odd ones, which come in the order of the corpus; then dogs.
    assert shown(page)[:3] == ["image-01.png", "image-03.png", "image-05.png"]
    page.locator("#direction").click()
    assert shown(page)[:2] == ["image-02.png", "image-04.png"]
    page.get_by_label("Sort").select_option(label="error")
    page.locator("#direction").click()
    assert shown(page)[:3] == ["image-00.png", "image-10.png", "image-20.png"]


def test_overlays_can_be_hidden_and_made_fainter(page):
    overlay = page.locator(".card .overlay").first
    expect(overlay).to_be_visible()
    assert page.locator(".card .photo").first.is_visible()
    page.get_by_label("Opacity").fill("30")
    expect(overlay).to_have_css("opacity", "0.3")
    page.locator("#grid").focus()
    page.keyboard.press("]")
    expect(overlay).to_have_css("opacity", "0.35")
    page.keyboard.press("o")
    expect(overlay).to_be_hidden()
    assert page.locator(".card .photo").first.is_visible()
    page.get_by_label("Overlay").check()
    expect(overlay).to_be_visible()
    tag = page.locator(".card .name-tags span").first
    expect(tag).to_be_hidden()
    page.keyboard.press("n")
    expect(tag).to_have_text("1 cat")
    expect(tag).to_be_visible()


def test_arrows_go_from_image_to_image_and_enter_opens_one(page):
    page.keyboard.press("ArrowRight")
    assert current(page) == "image-58.png"
    page.keyboard.press("ArrowDown")
    columns = page.evaluate("grid.columns")
    assert current(page) == shown(page)[1 + columns]
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    detail = page.locator("#detail")
    expect(detail).to_contain_text("/images/image-59.png")
    expect(detail).to_contain_text("2 segments")
    expect(detail).to_contain_text("1 cat 0.41")
    expect(detail.locator(".photo")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(detail).to_contain_text("/images/image-58.png")
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_contain_text("hide or show the overlays")


def test_pages_of_pictures_are_read_when_they_come_into_view(watched, page):
    def pages() -> set[str]:
        return {url for url in watched.requests if "/page-" in url}

    page.set_viewport_size({"width": 900, "height": 500})
    early = pages()
    assert 1 <= len(early) < 7  # of 54 pictures, eight to a page
    assert page.locator(".card").count() < 30
    page.keyboard.press("End")
    expect(page.locator(".card[aria-selected=true] .name")).to_have_text("image-50.png")
    for _ in range(6):  # failures come last
        page.keyboard.press("ArrowLeft")
    expect(page.locator(".card[aria-selected=true] .name")).to_have_text("image-01.png")
    expect(page.locator(".card[aria-selected=true] .photo")).to_be_visible()
    assert pages() > early
    page.keyboard.press("PageUp")
    assert page.locator(".card").count() < 30


def test_another_width_of_the_window_keeps_the_current_image_in_view(page):
    page.keyboard.press("End")
    page.set_viewport_size({"width": 900, "height": 500})
    expect(page.locator(".card[aria-selected=true] .name")).to_have_text("image-50.png")
    expect(page.locator(".card[aria-selected=true]")).to_be_in_viewport()


def test_dragging_across_a_histogram_keeps_the_images_in_that_range(drawn_page):
    plot = drawn_page.locator("[data-measure=mean_score] .nsewdrag").bounding_box()
    assert plot is not None
    middle = plot["y"] + plot["height"] / 2
    drawn_page.mouse.move(plot["x"] + 0.60 * plot["width"], middle)
    drawn_page.mouse.down()
    drawn_page.mouse.move(plot["x"] + 0.80 * plot["width"], middle, steps=5)
    drawn_page.mouse.up()
    low = drawn_page.locator("[data-measure=mean_score] .low")
    expect(low).not_to_have_value("")
    ends = [float(low.input_value()), float(drawn_page.locator(".high").first.input_value())]
    assert ends == pytest.approx([0.6, 0.8], abs=0.02)
    num_kept = sum(i % 10 != 0 and ends[0] <= 0.996 - 0.01 * i <= ends[1] for i in range(60))
    expect(drawn_page.locator("#status")).to_have_text(f"{num_kept} of 60 images")
    drawn_page.locator("#clear").click()
    expect(low).to_have_value("")
    expect(drawn_page.locator("#status")).to_have_text("60 of 60 images")


def test_a_range_can_be_typed_and_is_of_the_measure_that_is_drawn(page):
    page.locator("[data-measure=mean_score] .high").fill("0.446")
    page.keyboard.press("Tab")
    expect(page.locator("#status")).to_have_text("5 of 60 images")  # 55 to 59
    page.locator("[data-measure=mean_score] select").select_option("min_score")
    expect(page.locator("#status")).to_have_text("60 of 60 images")
    page.locator("[data-measure=num_segments] .low").fill("3")
    page.keyboard.press("Tab")
    expect(page.locator("#status")).to_have_text("0 of 60 images")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_light_or_dark_as_its_reader_likes_it(page, scheme):
    page.emulate_media(color_scheme=scheme)
    style = "getComputedStyle(document.body)"
    found = page.evaluate(f"[{style}.color, {style}.backgroundColor]")
    colours = [sum(int(part) for part in re.findall(r"\d+", colour)[:3]) for colour in found]
    assert (colours[0] > colours[1]) == (scheme == "dark")
    assert abs(colours[0] - colours[1]) > 500  # of 765


def test_a_page_that_is_missing_is_named_on_its_cards(browser, index, tmp_path):
    copy = shutil.copytree(Path(index).parent, tmp_path / "copy")
    (copy / "data" / "page-00000.js").unlink()
    watched = WatchedPage(browser)
    page = watched.open(str(copy / "index.html"))
    expect(page.locator(".card .note").first).to_have_text("data/page-00000.js cannot be read")
    watched.page.close()
