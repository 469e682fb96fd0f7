"""Labels a planned run where its form says: in this process, or as a job on a Ray cluster."""

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.concurrency.sync import concurrency
from prefect.flows import Flow
from prefect.runtime import flow_run as this_run
from rich.console import Console

from flows.failures import task_body
from flows.progress import Workforce, progress_artifacts
from pipelines.monitor.status import read_status
from pipelines.planning.canary import is_canary_of
from pipelines.redaction import without_secrets
from pipelines.run.folder import RunFolder
from pipelines.run.grading import starting_note
from pipelines.run.plan import Plan, load_plan
from pipelines.settings.label import LabelConfig
from pipelines.storage.addresses import normalise_location
from possam_core.errors import PossamError
from possam_core.processes import default_workers, usable_cpus

GPU_LIMIT = "possam-gpu"  # a global concurrency limit; where it does not exist, no flow waits
FLOW_RUN_KEY = "flow_run_id"  # in the metadata of a Ray job: the flow run that submitted it


@task(cache_policy=NO_CACHE)
@task_body
def label(config: LabelConfig, ray_address: str, stage: str) -> None:
    """Label the open shards of a planned run, while artifacts show its progress.

    Args:
        config: of the run.
        ray_address: of a cluster's Jobs API; empty: label in this process.
        stage: canary or corpus; the artifacts' keys begin with it.

    Raises:
        PossamError: some shards are still open.
    """
    plan = load_plan(RunFolder(config.output))
    assert plan is not None  # the caller has planned the run
    if note := starting_note(plan.settings):
        get_run_logger().warning(note)
    label_round(plan, config, ray_address, key=f"{stage}-progress")


def label_round(plan: Plan, config: LabelConfig, ray_address: str, *, key: str) -> None:
    """Label the open shards of one round: the corpus, or a retry of images that failed.

    Args:
        plan: of the round.
        config: of the run.
        ray_address: of a cluster's Jobs API; empty: label in this process.
        key: of the artifact that shows progress, such as corpus-progress.

    Raises:
        PossamError: some shards are still open.
    """
    with progress_artifacts(config.output, key=key, workforce=_workforce(config, ray_address)):
        status = read_status(config.output)
        # A retry is planned only once the round before it is finished.
        if status.state == "finalised" or plan.round < status.rounds[-1].round:
            get_run_logger().info("nothing is left to label in %s", config.output)
            return
        with _gpu_slot(config):
            if ray_address:
                _label_on_ray(plan, config, ray_address)
            else:
                _label_here(plan, config)


def stop_ray_jobs(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Stop the Ray jobs of a cancelled run, in case its process was killed before it could.

    A hook for flows whose parameter `form` has the fields `output` and `ray_address`. No hook
    handles crashes: a flow that ends by an error has stopped its job by then, and the job of a flow
    whose process is gone continues, so that the next run attaches to it.
    """
    form = flow_run.parameters["form"]
    output = normalise_location(form["output"])
    stop_jobs_on_cluster(form, lambda place: place == output or is_canary_of(place, output))


def stop_jobs_on_cluster(form: dict[str, Any], is_ours: Callable[[str], bool]) -> None:
    """Stop the Ray jobs whose run folder `is_ours` accepts, if `form` names a cluster."""
    if address := form.get("ray_address"):
        from pipelines.ray_jobs.client import RayJobs  # imports Ray, which takes seconds

        RayJobs(address).stop_runs(is_ours)


def _label_here(plan: Plan, config: LabelConfig) -> None:
    from pipelines.label.session import run_label, run_retry  # likewise
    from pipelines.label.summary import why_open

    quiet = Console(quiet=True)
    report = run_retry(config, console=quiet) if plan.round else run_label(config, console=quiet)
    if report.is_stopped:
        # The job caught the signal to end in order; raise it again so that Prefect sees it, too.
        signal.raise_signal(signal.SIGTERM)
    if report.manifest is None:
        raise PossamError(why_open(report))


def _label_on_ray(plan: Plan, config: LabelConfig, ray_address: str) -> None:
    from ray.job_submission import JobStatus  # likewise

    from pipelines.ray_jobs.client import JobRequest, job_name, run_on_ray

    logger = get_run_logger()
    end = run_on_ray(
        ray_address,
        JobRequest(config=config, codes=() if plan.round else None),
        job_name(plan, config.output),
        on_line=lambda line: logger.info("%s", without_secrets(line)),
        metadata={FLOW_RUN_KEY: str(this_run.get_id())},
    )
    if end.status is JobStatus.STOPPED:
        raise PossamError(
            f"Ray job {end.job_id} was stopped from outside before it was done; run the same form"
            " again, which labels only the open shards"
        )
    if end.status is JobStatus.FAILED:
        raise PossamError(f"Ray job {end.job_id} failed: {end.reason}")


def _gpu_slot(config: LabelConfig) -> AbstractContextManager[None]:
    return concurrency(GPU_LIMIT) if config.gpus_per_worker else nullcontext()


def _workforce(config: LabelConfig, ray_address: str) -> Workforce:
    num_workers = config.num_workers
    if not (num_workers or ray_address or config.gpus_per_worker):
        num_workers = default_workers(usable_cpus())  # the job's own default
    return Workforce(
        num_workers=num_workers, gpus_per_worker=config.gpus_per_worker or 0.0, prices=config.prices
    )
