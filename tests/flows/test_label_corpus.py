"""The flow in this process: a real Prefect server, the real job, a small untrained model."""

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
)
from prefect.client.schemas.objects import StateType
from prefect.states import State

from flows.forms.corpus import LabelCorpusForm, label_config
from flows.forms.model import VocabularyChoice
from flows.label_corpus import label_corpus
from flows.labelling import GPU_LIMIT
from pipelines.planning.prepare import prepare
from pipelines.run.folder import plan_part_key
from pipelines.verify import verify_run
from tests.factories import encode, make_pixels
from tests.flows.api import artifacts_of, create_automation, events_of, logs_of
from tests.flows.services import running, wait_until
from tests.pipelines.damaging import rewrite

NUM_IMAGES = 10
CANARY_IMAGES = 3
SECRET = "planted-5tAr5"
SAYS_NO_WITHIN = timedelta(seconds=5)

SLEEPER = """
import time
from prefect import flow

@flow
def sleeper():
    time.sleep(600)

sleeper()
"""


@dataclass(frozen=True, kw_only=True)
class Story:
    """What became of one form: first with a threshold that no canary meets, then approved."""

    form: LabelCorpusForm
    failed: State[None]
    data_after_failure: list[Path]
    events_after_failure: dict[str, dict[str, Any]]
    approved: State[None]

    @property
    def output(self) -> Path:
        return Path(self.form.output)


@pytest.fixture(scope="module")
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def notes(client: SyncPrefectClient) -> Iterator[list[dict[str, str]]]:
    """What operators receive, over a webhook, from the automation that watches quality."""
    received: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            received.append(json.loads(self.rfile.read(length)))
            self.send_response(204)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    block = CustomWebhookNotificationBlock(
        name="operators",
        url=f"http://127.0.0.1:{server.server_port}",
        json_data={"subject": "{{subject}}", "body": "{{body}}"},
    )
    create_automation(
        client, "quality-degraded", action={"block_document_id": str(block.save("operators"))}
    )
    yield received
    server.shutdown()


@pytest.fixture(scope="module", autouse=True)
def killed(
    prefect_server: str, client: SyncPrefectClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[UUID]]:
    """The id of a flow run whose process was killed once it had sent a heartbeat.

    Autouse, so that an automation misses its heartbeats while other tests are at work.
    """
    related = {"prefect.resource.role": "flow", "prefect.resource.name": "sleeper"}
    # The shortest time that Prefect takes. Other flows live, and send their heartbeats more rarely.
    create_automation(client, "silent-flow", trigger={"within": 10, "match_related": related})
    log = tmp_path_factory.mktemp("sleeper") / "log"

    def kill() -> UUID:
        with log.open("wb") as out, running([sys.executable, "-c", SLEEPER], os.environ, out):
            found: list[UUID] = []
            wait_until(lambda: found.extend(alive(client, prefect_server, "sleeper")) or found)
            return found[0]

    pool = ThreadPoolExecutor(1)
    yield pool.submit(kill)
    pool.shutdown()


@pytest.fixture(scope="module")
def story(
    prefect_server: str,
    ray_cluster: None,
    client: SyncPrefectClient,
    notes: list[dict[str, str]],
    tiny_model: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    write_corpus(folder / "corpus")
    form = LabelCorpusForm(
        images=str(folder / "corpus"),
        output=str(folder / "run"),
        checkpoint=tiny_model,
        canary_images=CANARY_IMAGES,
        approval=True,
        approval_hours=0.1,
        shard_size=6,
        max_error_share=0.5,
        worker_hour_price=1.5,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORPUS_SECRET_ACCESS_KEY", SECRET)
        failed = label_corpus(replace(form, min_mean_score=1.0), return_state=True)
        data = list((folder / "run" / "data").rglob("*"))
        wait_until(lambda: "possam.run.failed" in events_of(prefect_server, form.output))
        events = events_of(prefect_server, form.output)
        approver = threading.Thread(target=approve, args=(client,))
        approver.start()
        approved = label_corpus(form, return_state=True)
        approver.join()
        yield Story(
            form=form,
            failed=failed,
            data_after_failure=data,
            events_after_failure=events,
            approved=approved,
        )


def write_corpus(folder: Path) -> None:
    """Nine good images, one with a secret for a name, and an empty file."""
    folder.mkdir()
    for i in range(NUM_IMAGES - 2):
        (folder / f"{i}.jpg").write_bytes(encode(make_pixels(seed=i)))
    (folder / f"{SECRET}.jpg").write_bytes(encode(make_pixels(seed=99)))
    (folder / "empty.jpg").write_bytes(b"")


def approve(client: SyncPrefectClient) -> None:
    """Resume the run that waits, as the button in the UI does."""
    waits = FlowRunFilter(state=FlowRunFilterState(type={"any_": [StateType.PAUSED]}))
    found = []
    wait_until(lambda: found.extend(client.read_flow_runs(flow_run_filter=waits)) or found, 120)
    client.resume_flow_run(found[0].id)


def alive(client: SyncPrefectClient, server: str, flow_name: str) -> list[UUID]:
    """Ids of the runs of a flow that have sent a heartbeat."""
    runs = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow_name])))
    wanted = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": [f"prefect.flow-run.{flow_run.id}" for flow_run in runs] or ["none"]},
    }
    answer = requests.post(f"{server}/api/events/filter", json={"filter": wanted}, timeout=10)
    ids = [event["resource"]["prefect.resource.id"] for event in answer.json()["events"]]
    return [UUID(name.removeprefix("prefect.flow-run.")) for name in ids]


def run_id(state: State[None]) -> UUID:
    found = state.state_details.flow_run_id
    assert found is not None
    return found


def test_where_no_grade_is_calibrated_the_artifacts_say_so_and_no_grade_is_a_threshold(
    story: Story, client: SyncPrefectClient, tmp_path: Path
) -> None:
    shown = artifacts_of(client, run_id(story.approved))
    rows = {row["figure"]: row["value"] for row in shown["corpus-statistics"]}
    assert rows["grades"].startswith("not calibrated here: ")
    assert rows["grade uncalibrated"] == rows["labelled"]
    assert "not calibrated here" in shown["corpus-report"]
    form = replace(story.form, output=str(tmp_path / "graded"), min_mean_grade=2.0)
    state = label_corpus(form, return_state=True)
    assert "min_mean_grade needs calibrated grades" in str(state.message)
    assert "not calibrated here" in str(state.message)
    assert not (tmp_path / "graded/data").exists()


def test_a_canary_that_fails_stops_the_run_before_the_corpus_is_touched(story: Story) -> None:
    assert story.failed.is_failed()
    assert "the canary falls short: the mean score is 0." in str(story.failed.message)
    assert story.data_after_failure == []
    assert {"possam.quality.degraded", "possam.run.failed"} <= set(story.events_after_failure)
    degraded = story.events_after_failure["possam.quality.degraded"]
    assert (degraded["stage"], degraded["images"]) == ("canary", CANARY_IMAGES)
    failed = story.events_after_failure["possam.run.failed"]
    assert (failed["images"], failed["labelled"]) == (NUM_IMAGES, 0)


def test_an_approved_canary_lets_the_run_go_on_and_every_image_is_there_once(
    story: Story, client: SyncPrefectClient
) -> None:
    assert story.approved.is_completed()
    names = [s.name for s in client.read_flow_run_states(run_id(story.approved))]
    assert names == ["Pending", "Running", "Paused", "Running", "Completed"]
    assert verify_run(str(story.output)).problems == []
    assert "nothing is left to label" in logs_of(client, run_id(story.approved)), "of the canary"


def test_the_ui_shows_progress_figures_pictures_and_errors_with_advice(
    story: Story, client: SyncPrefectClient
) -> None:
    shown = artifacts_of(client, run_id(story.approved))
    assert shown["corpus-progress"] == shown["canary-progress"] == 100
    progress = {row["figure"]: row["value"] for row in shown["corpus-progress-figures"]}
    assert progress["shards"] == "2 of 2"
    assert progress["images"] == "10 of 10 (100.0%)"
    assert progress["cost so far"].endswith(" USD")
    statistics = {row["figure"]: row["value"] for row in shown["corpus-statistics"]}
    assert statistics["labelled"] == "9"
    assert statistics["errors"] == "1 (10.0%)"
    assert {"class", "segments", "mean score"} <= set(shown["corpus-classes"][0])
    assert shown["corpus-report"].count("](data:image/jpeg;base64,/9j/") == 6
    assert "| `empty` | 1 | upload the file again" in shown["corpus-report"]
    page = story.output / "report" / "index.html"
    assert page.as_uri() in shown["corpus-page"]
    assert page.is_file()


def test_operators_are_notified_of_labels_that_fall_short_and_why(
    story: Story, notes: list[dict[str, str]]
) -> None:
    wait_until(lambda: notes)
    (note,) = notes
    assert note["subject"] == f"Labels in {story.output} fall short"
    assert f"The canary in {story.output} misses:" in note["body"]
    assert "- the mean score is 0." in note["body"]
    assert f" of {CANARY_IMAGES} images have labels." in note["body"]


def test_the_run_tells_its_counts_as_an_event(story: Story, prefect_server: str) -> None:
    wait_until(lambda: "possam.run.finished" in events_of(prefect_server, story.output))
    finished = events_of(prefect_server, story.output)["possam.run.finished"]
    assert (finished["images"], finished["ok"], finished["errors"]) == (10, 9, {"empty": 1})
    assert finished["output"] == str(story.output)


def test_lines_of_our_packages_appear_in_the_log_of_the_run(
    story: Story, client: SyncPrefectClient
) -> None:
    wait_until(lambda: "planned 10 images in 2 shards" in logs_of(client, run_id(story.failed)))


def test_a_run_like_its_reference_passes_and_one_unlike_it_fails_and_keeps_its_labels(
    story: Story, client: SyncPrefectClient, tmp_path: Path
) -> None:
    def see_zebras(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            for segment in row["segments_info"]:
                segment["category_name"] = "zebra"

    reference = tmp_path / "reference"
    shutil.copytree(story.output, reference)
    again = replace(story.form, canary_images=0, approval=False, reference=str(reference))
    assert label_corpus(again, return_state=True).is_completed()
    for shard in range(2):
        rewrite(reference, see_zebras, shard=shard)
    state = label_corpus(replace(again, max_drift=0.5), return_state=True)
    assert state.is_failed()
    assert "the classes drifted from the reference" in str(state.message)
    assert "(zebra " in str(state.message), "the class whose share changed most comes first"
    assert verify_run(str(story.output)).problems == []


def test_no_secret_is_in_anything_that_the_server_keeps(
    story: Story, client: SyncPrefectClient, prefect_server: str
) -> None:
    for state in (story.failed, story.approved):
        flow_run = client.read_flow_run(run_id(state))
        kept = json.dumps(
            [
                flow_run.model_dump(mode="json"),
                artifacts_of(client, flow_run.id),
                logs_of(client, flow_run.id),
                events_of(prefect_server, story.output),
            ]
        )
        assert SECRET not in kept
    # Three stars, but for what stars mean in Markdown.
    assert "![___.jpg](" in artifacts_of(client, run_id(story.approved))["corpus-report"]


def test_a_run_with_open_shards_fails_and_is_neither_judged_nor_told_as_finished(
    story: Story, client: SyncPrefectClient, prefect_server: str, tmp_path: Path
) -> None:
    output = str(tmp_path / "run")
    form = replace(story.form, output=output, canary_images=0, approval=False)
    prepare(label_config(form))
    (tmp_path / "run" / plan_part_key(0)).unlink()
    state = label_corpus(form, return_state=True)
    assert state.is_failed()
    assert "2 of 2 are open" in str(state.message)
    assert set(artifacts_of(client, run_id(state))) == {
        "corpus-progress",
        "corpus-progress-figures",
    }
    wait_until(lambda: "possam.run.failed" in events_of(prefect_server, form.output))
    events = events_of(prefect_server, form.output)
    assert set(events) == {"possam.run.started", "possam.run.failed"}
    failed = events["possam.run.failed"]
    assert (failed["images"], failed["labelled"]) == (NUM_IMAGES, 0)


def test_a_run_with_gpus_takes_a_place_in_the_global_limit(
    story: Story, client: SyncPrefectClient, prefect_server: str, tmp_path: Path
) -> None:
    limit = GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=1)
    place = f"prefect.concurrency-limit.{client.create_global_concurrency_limit(limit)}"
    output = str(tmp_path / "run")
    form = replace(story.form, output=output, canary_images=0, approval=False, gpus_per_worker=1.0)
    state = label_corpus(form, return_state=True)  # fails where there is no GPU

    def holders() -> list[str]:
        wanted = {"event": {"name": ["prefect.concurrency-limit.acquired"]}}
        answer = requests.post(
            f"{prefect_server}/api/events/filter", json={"filter": wanted}, timeout=10
        )
        taken = [
            e for e in answer.json()["events"] if e["resource"]["prefect.resource.id"] == place
        ]
        return [r["prefect.resource.id"] for event in taken for r in event["related"]]

    wait_until(lambda: f"prefect.flow-run.{run_id(state)}" in holders())
    assert client.read_global_concurrency_limit_by_name(GPU_LIMIT).active_slots == 0


def test_a_wrong_form_fails_at_once_with_every_mistake_named(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    (tmp_path / "empty.yaml").write_text("classes: []\n")
    form = LabelCorpusForm(images=str(tmp_path), output=str(tmp_path), error_budget=50)
    vocabularies: dict[str, Any] = {
        "has no class 'unicorn'": {
            "vocabulary": VocabularyChoice.PLAYGROUND,
            "classes": "star, unicorn",
        },
        "at least one class": {
            "vocabulary": VocabularyChoice.OWN_FILE,
            "vocabulary_file": str(tmp_path / "empty.yaml"),
        },
    }
    for mistake, fields in vocabularies.items():
        state = label_corpus(replace(form, ray_address="head:1", **fields), return_state=True)
        assert state.is_failed()
        message = str(state.message)
        assert message.startswith("the form has 4 mistakes: (1) output must differ from images")
        for part in (mistake, "error_budget must be in [0, 1]", "ray_address must be"):
            assert part in message
        assert client.read_flow_run(run_id(state)).total_run_time < SAYS_NO_WITHIN


def test_an_approval_that_never_comes_ends_with_a_sentence(
    story: Story, client: SyncPrefectClient
) -> None:
    state = label_corpus(replace(story.form, approval_hours=0.0003), return_state=True)
    assert state.is_failed()
    assert "expected an approval within 0.0003 hours, got none" in str(state.message)


def test_a_flow_run_whose_process_was_killed_is_crashed_by_the_automation(
    client: SyncPrefectClient, killed: Future[UUID]
) -> None:
    flow_run_id = killed.result()

    def state() -> State[Any]:
        found = client.read_flow_run(flow_run_id).state
        assert found is not None
        return found

    wait_until(lambda: not state().is_running())
    assert state().is_crashed()
    assert "no heartbeat for ten minutes" in str(state().message)
