"""What tests ask of the API of a Prefect server."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import requests
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.sorting import LogSort
from prefect.events.schemas.automations import AutomationCore

AUTOMATIONS = Path(__file__).parents[2] / "infra" / "automations"
PAGE = 200


def artifacts_of(client: SyncPrefectClient, flow_run_id: UUID) -> dict[str, Any]:
    """Data of the artifacts of a run, by key; tables are parsed."""
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    return {
        artifact.key: json.loads(artifact.data) if artifact.type == "table" else artifact.data
        for artifact in client.read_artifacts(artifact_filter=wanted, limit=PAGE)
    }


def logs_of(client: SyncPrefectClient, flow_run_id: UUID) -> str:
    """The messages that a run has logged so far, a line each."""
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    return "\n".join(log.message for log in client.read_logs(log_filter=wanted, limit=PAGE))


def latest_logs(client: SyncPrefectClient) -> str:
    """What all runs have logged last, a line each."""
    found = client.read_logs(limit=PAGE, sort=LogSort.TIMESTAMP_DESC)
    return "\n".join(log.message for log in found)


def events_of(server: str, output: object) -> dict[str, dict[str, Any]]:
    """Payloads of our events about the run folder `output`, by name; of several the last."""
    resource = {"id": [f"possam.run.{output}"]}
    answer = requests.post(
        f"{server}/api/events/filter",
        json={"filter": {"resource": resource, "order": "ASC"}},
        timeout=10,
    )
    return {event["event"]: event["payload"] for event in answer.json()["events"]}


def create_automation(
    client: SyncPrefectClient,
    name: str,
    *,
    trigger: dict[str, Any] | None = None,
    action: dict[str, Any] | None = None,
) -> UUID:
    """Create a shipped automation; `trigger` and `action` win over what the file says."""
    content = yaml.safe_load((AUTOMATIONS / f"{name}.yaml").read_text())
    content["trigger"].update(trigger or {})
    content["actions"][0].update(action or {})
    return client.create_automation(AutomationCore.model_validate(content))
