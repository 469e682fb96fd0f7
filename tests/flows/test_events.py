"""What events tell automations about a run, and what they leave out."""

from pathlib import Path
from typing import Any

import pytest

import flows.events
from flows.events import FAILED, STARTED, RunEvents
from pipelines.planning.prepare import prepare
from pipelines.settings.label import LabelConfig
from tests.factories import encode, make_pixels

SECRET = "open-sesame"  # a credential that is part of the address, too


def test_a_failed_run_at_an_address_with_a_secret_says_how_far_it_came(
    tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted: list[tuple[str, dict[str, Any]]] = []

    def emit(event: str, *, resource: dict[str, str], payload: dict[str, Any]) -> None:
        emitted.append((event, resource | payload))

    monkeypatch.setattr(flows.events, "emit_event", emit)
    monkeypatch.setenv("STORE_TOKEN", SECRET)
    (tmp_path / "images").mkdir()
    for i in range(3):
        (tmp_path / f"images/{i}.jpg").write_bytes(encode(make_pixels(seed=i)))
    output = str(tmp_path / SECRET / "run")
    config = LabelConfig(images=str(tmp_path / "images"), output=output, model=tiny_model)
    events = RunEvents(output)
    events.started(prepare(config).plan)
    events.failed(f"no worker is left at {output}")
    (started, _), (failed, content) = emitted
    assert (started, failed) == (STARTED, FAILED)
    assert (content["images"], content["labelled"]) == (3, 0)
    shown = output.replace(SECRET, "***")
    assert content["prefect.resource.id"] == f"possam.run.{shown}"
    assert content["output"] == shown
    assert SECRET not in str(emitted)
