"""What an operator does and sees, in headless Chromium, with what `python -m flows.local` starts.

POSSAM_SCREENSHOTS=docs/images .venv/bin/python -m pytest tests/flows/test_browser.py
writes the pictures of the documentation anew.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from playwright.sync_api import Browser, Page, expect
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.labelling import GPU_LIMIT
from flows.local import NUM_GPU_JOBS, POOL, serving
from pipelines.verify import verify_run
from possam_core.playground import write_corpus
from tests.flows.api import AUTOMATIONS, create_automation
from tests.flows.services import wait_until

NUM_IMAGES = 12
SEED = 2_000_003  # scenes that training has not seen
SUBMITS = 10
LABELS_WITHIN_MS = 240_000
MAX_PICTURE_BYTES = 400_000

WIDTH, HEIGHT = 1200, 800

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("local")) as url:
        yield url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.set_default_timeout(60_000)
    yield page
    page.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go."""
    return Path(os.environ.get("POSSAM_SCREENSHOTS") or tmp_path)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short name, to be seen in the pictures."""
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        yield Path(name)


def ask(address: str, question: str, **wanted: object) -> list[dict[str, Any]]:
    answer = requests.post(f"{address}/api/{question}/filter", json=wanted, timeout=30)
    found: list[dict[str, Any]] = answer.json()
    return found


def test_an_operator_labels_a_corpus_from_the_form_and_sees_what_came_out(
    page: Page, address: str, pictures: Path, folder: Path
) -> None:
    retry_after_every_run(address)
    write_corpus(folder / "corpus", num_images=NUM_IMAGES, seed=SEED)
    fill_form(page, address, folder, pictures)
    submit(page)
    page.get_by_role("tablist").get_by_text("Runs", exact=True).click()
    page.locator('a[href*="/runs/flow-run/"]').first.click()
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=LABELS_WITHIN_MS)
    page.reload()  # for the graph as a whole; it is drawn in steps
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
    page.wait_for_timeout(3000)
    page.screenshot(path=pictures / "prefect-run.png")

    run = page.url.partition("?")[0]
    open_artifact(page, run, "corpus-progress")
    expect(page.get_by_text("Progress: 100%")).to_be_visible()
    open_artifact(page, run, "corpus-statistics")
    row = page.get_by_role("row").filter(has_text="labelled")
    expect(row).to_contain_text(str(NUM_IMAGES))
    page.screenshot(path=pictures / "prefect-statistics.png")
    open_artifact(page, run, "corpus-report")
    picture = page.locator('img[src^="data:image/jpeg"]').first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 100, "it is decoded, not broken"
    page.screenshot(path=pictures / "prefect-report.png")

    assert verify_run(str(folder / "run")).problems == []
    wait_until(lambda: retried(address) == [("COMPLETED", str(folder / "run"))], 120)
    taken = list(pictures.glob("prefect-*.png"))
    assert len(taken) == 4
    assert all(path.stat().st_size < MAX_PICTURE_BYTES for path in taken)


def fill_form(page: Page, address: str, folder: Path, pictures: Path) -> None:
    """Open the deployment from the list, and fill in what the corpus needs."""
    page.goto(f"{address}/deployments", wait_until="domcontentloaded")
    row = page.get_by_role("row").filter(has_text="label-corpus")
    row.get_by_role("link", name="laptop").click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    images = page.get_by_role("textbox").nth(1)  # after the name of the run
    images.fill(str(folder / "corpus" / "images"))
    page.get_by_role("textbox").nth(2).fill(str(folder / "run"))
    page.get_by_role("spinbutton").first.fill("0")  # no canary
    page.get_by_text("Run Name").scroll_into_view_if_needed()
    page.screenshot(path=pictures / "prefect-form.png")


def submit(page: Page) -> None:
    """Press Submit, and again if the server's SQLite was busy; the page itself never does."""
    for _ in range(SUBMITS):
        with page.expect_response(re.compile("/create_flow_run$")) as answer:
            page.get_by_role("button", name="Submit").click()
        if answer.value.status != HTTPStatus.SERVICE_UNAVAILABLE:
            break
        page.wait_for_timeout(1000)
    assert answer.value.status == HTTPStatus.CREATED, answer.value.text()


def open_artifact(page: Page, run: str, key: str) -> None:
    """Go to the page of a run and on to its artifact `key`."""
    # Cards below the fold are drawn only when they come into view.
    page.set_viewport_size({"width": WIDTH, "height": 3 * HEIGHT})
    page.goto(run)
    page.get_by_role("tablist").get_by_text("Artifacts", exact=True).click()
    page.get_by_role("link").filter(has=page.get_by_text(key, exact=True)).click()
    page.wait_for_url(re.compile("/artifacts/artifact/"))
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def retry_after_every_run(address: str) -> None:
    """Create the automation as it is shipped, but for this server, in this process, at once."""
    (deployment,) = ask(address, "deployments", flows={"name": {"any_": ["retry-failed"]}})
    shipped = yaml.safe_load((AUTOMATIONS / "retry-failed.yaml").read_text())["actions"][0]
    form = shipped["parameters"]["form"] | {"ray_address": ""}
    action = {
        "deployment_id": deployment["id"],
        "schedule_after": 0,
        "parameters": {"form": form},
    }
    settings = {PREFECT_API_URL: f"{address}/api"}
    with temporary_settings(updates=settings), get_client(sync_client=True) as client:
        create_automation(client, "retry-failed", action=action)


def retried(address: str) -> list[tuple[str, str]]:
    """State and run folder of each run of retry-failed."""
    runs = ask(address, "flow_runs", flows={"name": {"any_": ["retry-failed"]}})
    return [(run["state_type"], run["parameters"]["form"]["run"]) for run in runs]


def test_the_local_server_has_all_flows_a_pool_and_the_limit(address: str) -> None:
    deployments = ask(address, "deployments")
    assert {d["work_pool_name"] for d in deployments} == {POOL}
    assert len(deployments) == 6
    (limit,) = ask(address, "v2/concurrency_limits")
    assert (limit["name"], limit["limit"]) == (GPU_LIMIT, NUM_GPU_JOBS)
