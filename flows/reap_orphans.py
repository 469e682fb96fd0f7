"""Stop Ray jobs that nobody follows any more: what a flow's own hooks have missed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType

from flows.forms.checks import FORM, ray_address_problems, shown, together
from flows.logs import our_logs_in_run
from flows.steps import in_words
from pipelines.planning.canary import is_canary_of
from pipelines.storage.addresses import normalise_location
from possam_core.errors import ConfigError

PAGE = 200
FLOW_RUN_KEY = "flow_run_id"  # in a job's metadata: who has submitted it
PLACES = ("output", "run")  # fields of our forms that name a run folder


@dataclass(frozen=True, slots=True, kw_only=True)
class ReapOrphansForm:
    """Which cluster to look at."""

    __pydantic_config__ = FORM

    ray_address: Annotated[
        str,
        shown("Ray cluster", "Address of Ray's dashboard", examples=["http://ray-head:8265"]),
    ]


@flow(name="reap-orphans")
@in_words
def reap_orphans(form: ReapOrphansForm) -> None:
    """Stop each of our Ray jobs whose flow run has ended or is gone, unless another follows it.

    Labels are kept: the same form again goes on with what is open.
    """
    with our_logs_in_run():
        if found := ray_address_problems(form.ray_address):
            raise ConfigError(together(found))
        from pipelines.ray_jobs.client import (  # Ray: seconds that a wrong form saves
            RUN_KEY,
            RayJobs,
        )

        cluster = RayJobs(form.ray_address)
        jobs = {i: job.metadata or {} for i, job in cluster.open_jobs().items()}
        # After the jobs: whoever has submitted one is known to the server by now.
        with get_client(sync_client=True) as client:
            active = read_active(client)
        orphans = {i: m for i, m in jobs.items() if is_orphan(m, active, run_key=RUN_KEY)}
        cluster.stop(orphans)
        get_run_logger().info("%d of %d Ray jobs were orphans", len(orphans), len(jobs))
        if orphans:
            table = [{"job": i, "run": m.get(RUN_KEY, "")} for i, m in sorted(orphans.items())]
            create_table_artifact(table, key="orphans", description=form.ray_address)


def read_active(client: SyncPrefectClient) -> list[FlowRun]:
    """All flow runs that have begun and not ended."""
    states = sorted({*StateType} - TERMINAL_STATES - {StateType.SCHEDULED})
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)))
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=wanted, limit=PAGE, offset=len(found)):
        found += page
    return found


def is_orphan(metadata: Mapping[str, str], active: Iterable[FlowRun], *, run_key: str) -> bool:
    """Whether no active flow run has submitted the job, or works on the run folder that it fills.

    The next run of a form attaches to the job that an earlier one has left.
    """
    if FLOW_RUN_KEY not in metadata:
        return False  # no flow has submitted it
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
