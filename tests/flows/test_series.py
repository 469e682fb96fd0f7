"""label_new and what follows it: retry, export, evaluation. Real flows, a model of few weights."""

import contextvars
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.states import State

from flows.evaluate_run import EvaluateRunForm, evaluate_run
from flows.export_dataset import ExportDatasetForm, export_dataset
from flows.label_new import LabelNewForm, label_new
from flows.retry_failed import RetryFailedForm, retry_failed
from pipelines.run.committed import open_committed, read_committed
from pipelines.verify import verify_run
from possam_core.playground import write_corpus
from tests.factories import encode, make_pixels
from tests.flows.api import artifacts_of, events_of, logs_of
from tests.flows.services import wait_until

NUM_SCENES = 3
NUM_NEW = 50


@dataclass(frozen=True, kw_only=True)
class Series:
    """A corpus that was labelled, grew, and was labelled by two calls at once."""

    corpus: Path
    form: LabelNewForm
    first: State[None]
    at_once: list[State[None]]

    def run(self, number: int) -> Path:
        return Path(self.form.output, f"{number:06d}")


@pytest.fixture(scope="module")
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def series(
    prefect_server: str,
    ray_cluster: None,
    tiny_model: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Series:
    folder = tmp_path_factory.mktemp("series")
    corpus = folder / "corpus"
    write_corpus(corpus, num_images=NUM_SCENES, seed=1)
    (corpus / "images" / "empty.jpg").write_bytes(b"")
    form = LabelNewForm(
        images=str(corpus / "images"),
        output=str(folder / "series"),
        checkpoint=tiny_model,
        num_workers=1,
        shard_size=10,
        max_error_share=0.5,
    )
    first = label_new(form, return_state=True)
    for seed in range(NUM_NEW):
        (corpus / "images" / f"new-{seed}.jpg").write_bytes(encode(make_pixels(seed=seed)))
    at_once: list[State[None]] = []

    def call_it() -> None:
        at_once.append(label_new(form, return_state=True))

    # Prefect finds the address of its server in the context.
    calls = [
        threading.Thread(target=contextvars.copy_context().run, args=(call_it,)) for _ in range(2)
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    return Series(corpus=corpus, form=form, first=first, at_once=at_once)


def names(run: Path) -> list[str]:
    shards = read_committed(open_committed(str(run)))
    return [Path(uri).name for shard in shards for uri in shard.rows["uri"].to_pylist()]


def run_id(state: State[None]) -> Any:
    return state.state_details.flow_run_id


def figures(table: list[dict[str, str]]) -> dict[str, str]:
    return {row["figure"]: row["value"] for row in table}


def test_of_a_corpus_that_grew_exactly_the_new_images_are_labelled_even_by_two_at_once(
    series: Series,
) -> None:
    assert series.first.is_completed(), series.first.message
    assert [state.is_completed() for state in series.at_once] == [True, True]
    assert len(names(series.run(1))) == NUM_SCENES + 1
    assert sorted(names(series.run(2))) == sorted(f"new-{seed}.jpg" for seed in range(NUM_NEW))
    assert not series.run(3).exists()
    for number in (1, 2):
        assert verify_run(str(series.run(number))).problems == []


def test_a_call_without_anything_new_says_so_and_makes_no_run(
    series: Series, client: SyncPrefectClient
) -> None:
    state = label_new(series.form, return_state=True)
    assert state.is_completed()
    wait_until(lambda: "nothing is new in" in logs_of(client, run_id(state)))
    assert not series.run(3).exists()


def test_each_run_of_a_series_has_artifacts_and_events_like_any_other(
    series: Series, client: SyncPrefectClient, prefect_server: str
) -> None:
    shown = artifacts_of(client, run_id(series.first))
    assert shown["corpus-progress"] == 100
    assert figures(shown["corpus-statistics"])["images"] == str(NUM_SCENES + 1)
    wait_until(lambda: "possam.run.finished" in events_of(prefect_server, series.run(1)))


def test_a_form_of_a_series_with_mistakes_names_them_all(series: Series, tmp_path: Path) -> None:
    form = LabelNewForm(images=str(tmp_path), output=str(tmp_path), error_budget=50)
    message = str(label_new(form, return_state=True).message)
    assert message.startswith("the form has 2 mistakes: (1) output must differ from images")
    assert "error_budget must be in [0, 1]" in message


def test_a_retry_tries_the_chosen_errors_again(series: Series, client: SyncPrefectClient) -> None:
    form = RetryFailedForm(run=str(series.run(1)), codes="empty", num_workers=1)
    state = retry_failed(form, return_state=True)
    assert state.is_completed(), state.message
    assert any((series.run(1) / "data-retry-001").rglob("*.parquet"))
    shown = artifacts_of(client, run_id(state))
    assert shown["retry-progress"] == 100
    assert figures(shown["retry-statistics"])["error empty"] == "1", "it is empty still"


def test_a_retry_of_a_run_without_such_errors_does_nothing(
    series: Series, client: SyncPrefectClient
) -> None:
    state = retry_failed(RetryFailedForm(run=str(series.run(2))), return_state=True)
    assert state.is_completed()
    wait_until(lambda: "failed with one of these errors" in logs_of(client, run_id(state)))
    assert not (series.run(2) / "data-retry-001").exists()


def test_a_wrong_retry_names_its_mistakes(prefect_server: str, tmp_path: Path) -> None:
    form = RetryFailedForm(run=str(tmp_path / "none"), codes="empty, emtpy", ray_address="head")
    message = str(retry_failed(form, return_state=True).message)
    assert message.startswith("the form has 3 mistakes: (1) codes must be among")
    assert "got 'emtpy'" in message
    assert "ray_address must be" in message
    assert "expected a run" in message


def test_an_export_is_written_and_counted(
    series: Series, client: SyncPrefectClient, tmp_path: Path
) -> None:
    form = ExportDatasetForm(run=str(series.run(1)), output=str(tmp_path / "coco"), num_workers=1)
    state = export_dataset(form, return_state=True)
    assert state.is_completed(), state.message
    shown = figures(artifacts_of(client, run_id(state))["export"])
    assert shown["format"] == "coco-panoptic"
    assert str(NUM_SCENES) in shown.values()
    (listed,) = (tmp_path / "coco").rglob("panoptic*.json")
    assert len(json.loads(listed.read_text())["images"]) == NUM_SCENES


def test_a_wrong_export_names_its_mistakes(series: Series) -> None:
    run = str(series.run(1))
    form = ExportDatasetForm(run=run, output=run, where="grade <=", classes="unicorn")
    message = str(export_dataset(form, return_state=True).message)
    assert message.startswith("the form has 2 mistakes: (1) output must be a folder of its own")
    assert "grade <=" in message


def test_an_evaluation_shows_the_quality_of_classes_and_grades_and_may_fail_the_run(
    series: Series, client: SyncPrefectClient
) -> None:
    truth = str(series.corpus / "panoptic.json")
    form = EvaluateRunForm(run=str(series.run(1)), ground_truth=truth, min_pq=99)
    state = evaluate_run(form, return_state=True)
    assert state.is_failed()
    assert "at least 99 is wanted" in str(state.message)
    shown = artifacts_of(client, run_id(state))
    assert [row["classes"] for row in shown["panoptic-quality"]][:3] == ["all", "things", "stuff"]
    assert sum(int(row["images"]) for row in shown["grade-calibration"]) == NUM_SCENES


def test_a_wrong_evaluation_names_its_mistakes(prefect_server: str, tmp_path: Path) -> None:
    form = EvaluateRunForm(run=str(tmp_path), ground_truth=str(tmp_path / "no.json"), min_pq=-1)
    message = str(evaluate_run(form, return_state=True).message)
    assert message.startswith("the form has 3 mistakes: (1) expected a run with labels")
    assert "no.json" in message
    assert "min_pq must be 0 to 100, got -1" in message
