"""The deployments of a cluster, on a real server. Those of a laptop: test_browser.py."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import PrefectHTTPStatusError

from flows.local import DEPLOYMENTS, ROOT

POOL = "possam-kubernetes"
NUM_FLOWS = 6


@pytest.fixture(scope="module")
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def deployed(prefect_server: str, client: SyncPrefectClient) -> list[Any]:
    """The steps of `docs/prefect.md` for the owner of a cluster."""
    view = f"{prefect_server}/api/collections/views/aggregate-worker-metadata"
    workers = requests.get(view, timeout=30).json()["prefect-kubernetes"]
    template = workers["kubernetes"]["default_base_job_configuration"]
    pool = WorkPoolCreate(name=POOL, type="kubernetes", base_job_template=template)
    client.create_work_pool(pool)
    command = ["--no-prompt", "deploy", "--prefect-file", str(DEPLOYMENTS), "--name", "cluster"]
    subprocess.run(
        [sys.executable, "-m", "prefect", *command], env=os.environ, cwd=ROOT, check=True
    )
    return [d for d in client.read_deployments() if d.work_pool_name == POOL]


def test_all_flows_are_deployed_and_know_where_they_are_and_what_runs_at_night(
    deployed: list[Any],
) -> None:
    assert len(deployed) == NUM_FLOWS
    for deployment in deployed:
        assert deployment.job_variables["env"]["PYTHONPATH"] == "/app"
    schedules = {
        d.entrypoint.rpartition(".")[2]: [(s.schedule.cron, s.active) for s in d.schedules]
        for d in deployed
        if d.schedules
    }
    assert schedules == {
        "label_new": [("0 2 * * *", False)],
        "reap_orphans": [("*/15 * * * *", True)],
    }


def test_the_server_takes_a_form_and_refuses_a_misspelt_field_and_a_value_out_of_bounds(
    deployed: list[Any], client: SyncPrefectClient
) -> None:
    (deployment,) = (d for d in deployed if d.entrypoint.endswith("label_corpus"))
    form = {"images": "s3://bucket/photos", "output": "s3://bucket/labels"}
    client.create_flow_run_from_deployment(deployment.id, parameters={"form": form})
    for wrong, message in (({"outptu": "x"}, "outptu"), ({"error_budget": 50}, "maximum of 1")):
        with pytest.raises(PrefectHTTPStatusError, match=message):
            client.create_flow_run_from_deployment(deployment.id, parameters={"form": form | wrong})
