"""Which Ray jobs no flow run follows any more, and that they are stopped."""

from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Running
from ray.job_submission import JobStatus

from flows.reap_orphans import ReapOrphansForm, is_orphan, reap_orphans
from pipelines.ray_jobs.client import RUN_KEY, RayJobs
from tests.flows.services import wait_until


def make_flow_run(**form: object) -> FlowRun:
    return FlowRun(flow_id=uuid4(), parameters={"form": form})


def test_a_job_is_an_orphan_once_no_flow_run_is_about_its_run_folder() -> None:
    job = {"flow_run_id": str(uuid4()), RUN_KEY: "/labels/run"}
    assert is_orphan(job, [], run_key=RUN_KEY)
    assert is_orphan(job, [make_flow_run(output="/labels/other")], run_key=RUN_KEY)
    assert is_orphan(job, [make_flow_run(output="/labels/ru")], run_key=RUN_KEY)
    assert is_orphan(job, [FlowRun(flow_id=uuid4())], run_key=RUN_KEY), "a flow of somebody else"


@pytest.mark.parametrize(
    ("location", "form"),
    [
        ("/labels/run", {"output": "/labels/run/"}),
        ("/labels/run-canary-64", {"output": "/labels/run"}),
        ("/labels/series/000007", {"output": "/labels/series"}),
        ("/labels/run", {"run": "/labels/run"}),
    ],
)
def test_a_later_flow_run_of_the_same_folder_keeps_the_job(
    location: str, form: dict[str, str]
) -> None:
    job = {"flow_run_id": str(uuid4()), RUN_KEY: location}
    assert not is_orphan(job, [make_flow_run(**form)], run_key=RUN_KEY)


def test_the_flow_run_that_submitted_a_job_keeps_it() -> None:
    flow_run = FlowRun(flow_id=uuid4())
    assert not is_orphan({"flow_run_id": str(flow_run.id)}, [flow_run], run_key=RUN_KEY)


def test_a_job_that_no_flow_has_submitted_is_left_alone() -> None:
    assert not is_orphan({RUN_KEY: "/labels/run"}, [], run_key=RUN_KEY)


def test_the_flow_stops_the_job_of_a_run_that_is_gone_and_no_other(
    prefect_server: str, ray_jobs: str
) -> None:
    cluster = RayJobs(ray_jobs)
    with get_client(sync_client=True) as client:
        flow_run = client.create_flow_run(
            reap_orphans, parameters={"form": {"output": "/labels/followed"}}
        )
        client.set_flow_run_state(flow_run.id, Running(), force=True)
    jobs = {"possam-followed": str(flow_run.id), "possam-orphan": str(uuid4())}
    for job_id, flow_run_id in jobs.items():
        cluster._client.submit_job(
            entrypoint="sleep 600",
            submission_id=job_id,
            entrypoint_num_cpus=0,
            metadata={"flow_run_id": flow_run_id, RUN_KEY: f"/labels/{job_id}"},
        )
    wait_until(lambda: set(jobs) <= set(cluster.open_jobs()))
    state = reap_orphans(ReapOrphansForm(ray_address=ray_jobs), return_state=True)
    assert state.is_completed(), state.message
    left = cluster.open_jobs()
    cluster.stop(["possam-followed"])
    assert cluster._client.get_job_status("possam-orphan") is JobStatus.STOPPED
    assert "possam-followed" in left


def test_a_wrong_address_is_named(prefect_server: str) -> None:
    state = reap_orphans(ReapOrphansForm(ray_address="head:8265"), return_state=True)
    assert "the form has a mistake: ray_address must be" in str(state.message)
