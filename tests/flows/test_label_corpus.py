"""A real Prefect server on a private port and home, and the real job."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.states import State
from prefect.testing.utilities import prefect_test_harness

from flows.label_corpus import label_corpus
from pipelines.label_config import LabelConfig
from tests.factories import encode, make_pixels


@pytest.fixture(scope="module")
def prefect_harness() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def test_the_flow_labels_a_corpus_and_leaves_a_table_of_totals(
    prefect_harness: None, ray_cluster: None, tiny_model: str, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for i in range(3):
        (corpus / f"{i}.jpg").write_bytes(encode(make_pixels(seed=i)))
    (corpus / "empty.jpg").write_bytes(b"")
    label_corpus(LabelConfig(images=str(corpus), output=str(tmp_path / "run"), model=tiny_model))
    with get_client(sync_client=True) as client:
        artifact = client.read_artifacts()[0]
    counts = {row[""]: row["count"] for row in json.loads(artifact.data)}
    assert (counts["images"], counts["ok"], counts["empty"]) == (4, 3, 1)


def test_a_request_that_cannot_work_fails_with_its_sentence(
    prefect_harness: None, tmp_path: Path
) -> None:
    request = LabelConfig(images=str(tmp_path / "none"), output=str(tmp_path / "run"))
    state: State[None] = label_corpus(request, return_state=True)
    assert state.is_failed()
    assert "does not exist; check the path" in str(state.message)
