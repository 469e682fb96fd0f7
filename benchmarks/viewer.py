"""Loading time of a report, and how smoothly it scrolls, in headless Chromium.

The run holds the true segments of the photographs in `../shared/data` many times over (without that
folder: drawings), 2,000 images in all; another has 100,000 small drawings, of which 2,000 have a
picture. Each page is opened ten times, in a new browser process with an empty cache. Times count
from the start of loading the page; "usable" is when all images are listed, sorted and can be
filtered, "pictures" when all in view are loaded, "histograms" when they are drawn, too. Then the
page is scrolled by a tenth of its height in 240 frames, and jumps to 20 places; a stall is a frame
that takes longer than 100 ms. Writes `build/bench/viewer.json`.

usage: python -m benchmarks.viewer [--run RUN] [--chromium FILE]
"""

import argparse
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Playwright, sync_playwright
from rich.console import Console
from rich.table import Table

from benchmarks.report import write_json
from benchmarks.true_corpus import drawings, make_corpus, write_run
from pipelines.report import write_report

OUTPUT = Path("build/bench/viewer.json")
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
NUM_IMAGES, NUM_LISTED = 2000, 100_000
SMALL_HW = (48, 64)
SHARD_SIZE = 1024
REPEATS = 10
TIMEOUT_MS = 60_000
STALL_MS = 100
VIEWPORT = {"width": 1440, "height": 900}

# Runs before any script of the page: records when the page reaches each state.
WATCH = """
window.reached = {};
const isFilled = (card) => {
  const photo = card.querySelector(".photo");
  return !card.querySelector(".note").hidden || (photo.complete && photo.naturalWidth);
};
window.isThere = () => {
  const cards = [...document.querySelectorAll(".card")];
  return cards.length && cards.every(isFilled);
};
const note = (name) => { window.reached[name] ??= performance.now(); };
const look = () => {
  const state = document.body?.dataset.state;
  if (state) note(state);
  if (state && window.isThere()) note("pictures");
  if (!(window.reached.drawn && window.reached.pictures)) requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""

REACHED = """async () => {
  const isDone = () => window.reached.drawn && window.reached.pictures;
  while (!isDone()) await new Promise(requestAnimationFrame);
  return window.reached;
}"""

SCROLL = """async () => {
  const box = document.getElementById("scroll");
  const frames = [];
  const step = box.scrollHeight / 10 / 240;
  let last = await new Promise(requestAnimationFrame);
  for (let i = 0; i < 240; i++) {
    box.scrollTop += step;
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    last = now;
  }
  return frames;
}"""

JUMP = """async () => {
  const box = document.getElementById("scroll");
  const waits = [];
  for (let i = 1; i <= 20; i++) {
    box.scrollTop = box.scrollHeight * ((i * 7) % 20) / 20;
    const start = performance.now();
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    while (!window.isThere()) await new Promise(requestAnimationFrame);
    waits.push(performance.now() - start);
  }
  return waits;
}"""


def measure(run: str, folder: Path, chromium: str) -> dict[str, float]:
    """All figures of one report."""
    started = time.perf_counter()
    page = Path(write_report(run, str(folder)))
    figures = {"writing it, s": time.perf_counter() - started}
    figures["size, MB"] = sum(f.stat().st_size for f in folder.rglob("*.*")) / 1e6
    with sync_playwright() as playwright:
        reached = [_open(playwright, chromium, page) for _ in range(REPEATS)]
        for name, label in (("ready", "usable"), ("pictures", "pictures"), ("drawn", "histograms")):
            times = [each[name] / 1000 for each in reached]
            figures[f"{label}, median of {REPEATS}, s"] = statistics.median(times)
            figures[f"{label}, longest, s"] = max(times)
        with _opened(playwright, chromium, page) as opened:
            opened.wait_for_selector("body[data-state=drawn]")
            frames = opened.evaluate(SCROLL)
            waits = opened.evaluate(JUMP)
    figures["scrolling: frame, median, ms"] = statistics.median(frames)
    figures["scrolling: frame, longest, ms"] = max(frames)
    figures[f"scrolling: frames over {STALL_MS} ms, of 240"] = sum(f > STALL_MS for f in frames)
    figures["jump to pictures, median of 20, ms"] = statistics.median(waits)
    figures["jump to pictures, longest, ms"] = max(waits)
    return figures


@contextmanager
def _opened(playwright: Playwright, chromium: str, page: Path) -> Iterator[Page]:
    """The page in a new browser."""
    browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
    opened = browser.new_page(viewport=VIEWPORT)
    opened.set_default_timeout(TIMEOUT_MS)
    opened.add_init_script(WATCH)
    opened.goto(page.as_uri(), wait_until="commit")
    yield opened
    browser.close()


def _open(playwright: Playwright, chromium: str, page: Path) -> dict[str, float]:
    """Milliseconds from the start until each state."""
    with _opened(playwright, chromium, page) as opened:
        reached: dict[str, float] = opened.evaluate(REACHED)
        return reached


def _print(name: str, figures: dict[str, float]) -> None:
    table = Table("figure", "value", title=name, title_justify="left")
    for label, value in figures.items():
        table.add_row(label, f"{value:,.2f}")
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", help="a run to report on, in place of those described above")
    parser.add_argument("--chromium", default=CHROMIUM)
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="possam-bench-"))
    figures: dict[str, dict[str, Any]] = {}
    try:
        if options.run:
            figures[options.run] = measure(options.run, folder / "report", options.chromium)
            _print(options.run, figures[options.run])
        else:
            for corpus, number in ((make_corpus(), NUM_IMAGES), (drawings(SMALL_HW), NUM_LISTED)):
                name = f"{number:,} {corpus.kind}"
                place = folder / str(number)
                place.mkdir()
                run = write_run(place, corpus, number, shard_size=SHARD_SIZE)
                figures[name] = measure(run, place / "report", options.chromium)
                _print(name, figures[name])
    finally:
        shutil.rmtree(folder)
    write_json(OUTPUT, {"machine": platform.platform(), "figures": figures})


if __name__ == "__main__":
    main()
