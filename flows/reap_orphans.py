"""Stop Ray jobs that no flow run follows any more: those that a flow's own hooks missed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType

from flows.failures import flow_body
from flows.forms.checks import one_message, ray_address_problems
from flows.forms.form import FORM
from flows.forms.form_field import form_field
from flows.labelling import FLOW_RUN_KEY
from flows.logs import package_logs_in_run
from pipelines.planning.canary import is_canary_of
from pipelines.storage.addresses import normalise_location
from possam_core.errors import ConfigError

PAGE = 200
PLACES = ("output", "run")  # fields of our forms that name a run folder


@dataclass(frozen=True, slots=True, kw_only=True)
class ReapOrphansForm:
    """Which cluster to clean up."""

    __pydantic_config__ = FORM

    ray_address: Annotated[
        str,
        form_field("Ray cluster", "Address of Ray's dashboard", example="http://ray-head:8265"),
    ]


@flow(name="reap-orphans")
@flow_body
def reap_orphans(form: ReapOrphansForm) -> None:
    """Stop each of our Ray jobs whose flow run has ended or is gone, unless another follows it.

    Labels are kept: the same form again continues with the open shards.
    """
    with package_logs_in_run():
        if found := ray_address_problems(form.ray_address):
            raise ConfigError(one_message(found))
        from pipelines.ray_jobs.client import (  # imports Ray, which takes seconds
            RUN_KEY,
            RayJobs,
        )

        cluster = RayJobs(form.ray_address)
        jobs = {i: job.metadata or {} for i, job in cluster.open_jobs().items()}
        # Read after the jobs, so that the server knows the flow run of each of them by now.
        with get_client(sync_client=True) as client:
            active = read_active(client)
        orphans = {i: m for i, m in jobs.items() if is_orphan(m, active, run_key=RUN_KEY)}
        cluster.stop(orphans)
        get_run_logger().info("%d of %d Ray jobs were orphans", len(orphans), len(jobs))
        if orphans:
            table = [{"job": i, "run": m.get(RUN_KEY, "")} for i, m in sorted(orphans.items())]
            create_table_artifact(table, key="orphans", description=form.ray_address)


def read_active(client: SyncPrefectClient) -> list[FlowRun]:
    """All flow runs that have started and not ended."""
    states = sorted({*StateType} - TERMINAL_STATES - {StateType.SCHEDULED})
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)))
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=wanted, limit=PAGE, offset=len(found)):
        found += page
    return found


def is_orphan(metadata: Mapping[str, str], active: Iterable[FlowRun], *, run_key: str) -> bool:
    """Whether no active flow run has submitted the job, or works on the job's run folder.

    A job of an earlier run of a form is no orphan: the next run attaches to it.
    """
    if FLOW_RUN_KEY not in metadata:
        return False  # it was not submitted by a flow
    return not any(
        str(flow_run.id) == metadata[FLOW_RUN_KEY]
        or works_on(flow_run.parameters.get("form"), metadata.get(run_key, ""))
        for flow_run in active
    )


def works_on(form: Any, location: str) -> bool:
    """Whether the form of a flow is about the run at `location`, its canary, or its series."""
    places = [form[name] for name in PLACES if form.get(name)] if isinstance(form, dict) else []
    for place in map(normalise_location, places):
        if location == place or location.startswith(f"{place}/") or is_canary_of(location, place):
            return True
    return False
