"""Labels what is planned where the form says: in this process, or as a job on a Ray cluster."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import FlowRun, State
from prefect.concurrency.sync import concurrency
from prefect.flows import Flow
from prefect.runtime import flow_run as this_run
from rich.console import Console

from flows.progress import Workforce, progress_shown
from pipelines.monitor.status import read_status
from pipelines.planning.canary import is_canary_of
from pipelines.redaction import without_secrets
from pipelines.run.folder import RunFolder
from pipelines.run.plan import Plan, load_plan
from pipelines.settings.label import LabelConfig
from pipelines.storage.addresses import normalise_location
from possam_core.errors import PossamError

GPU_LIMIT = "possam-gpu"  # a global concurrency limit; where there is none, nobody waits


def label_run(config: LabelConfig, ray_address: str, *, key: str) -> None:
    """Label what is open of the planned run `config`, while artifacts named by `key` show how far.

    Args:
        config: of the run.
        ray_address: of a cluster's Jobs API; empty: label in this process.
        key: such as corpus-progress.

    Raises:
        PossamError: shards are open still.
    """
    plan = load_plan(RunFolder(config.output))
    assert plan is not None  # of a planned run
    label_round(plan, config, ray_address, key=key)


def label_round(plan: Plan, config: LabelConfig, ray_address: str, *, key: str) -> None:
    """Label what is open of one round: of the corpus, or of a retry of what failed.

    Args:
        plan: of the round.
        config: as for `label_run`, as are the others.
        ray_address: as there.
        key: as there.

    Raises:
        PossamError: shards are open still.
    """
    with progress_shown(config.output, key=key, workforce=_workforce(config, ray_address)):
        status = read_status(config.output)
        # A retry is planned only once what it is about is finished.
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

    A hook for flows whose parameter `form` has the fields `output` and `ray_address`. There is none
    for crashes: a flow that can tell has stopped its job, and of one whose process is gone the job
    goes on, so that the next run attaches to it.
    """
    form = flow_run.parameters["form"]
    output = normalise_location(form["output"])
    stop_ray_jobs_at(form, lambda place: place == output or is_canary_of(place, output))


def stop_ray_jobs_at(form: dict[str, Any], is_meant: Callable[[str], bool]) -> None:
    """Stop the jobs of the cluster that `form` names, if it does, whose run folders are meant."""
    if address := form.get("ray_address"):
        from pipelines.ray_jobs.client import RayJobs  # Ray: seconds that a wrong form does without

        RayJobs(address).stop_runs(is_meant)


def _label_here(plan: Plan, config: LabelConfig) -> None:
    from pipelines.label.session import run_label, run_retry  # as above
    from pipelines.label.summary import why_open

    quiet = Console(quiet=True)
    report = run_retry(config, console=quiet) if plan.round else run_label(config, console=quiet)
    if report.is_stopped:
        # The runner has taken the signal for itself to end well; now it is Prefect's turn.
        signal.raise_signal(signal.SIGTERM)
    if report.manifest is None:
        raise PossamError(why_open(report))


def _label_on_ray(plan: Plan, config: LabelConfig, ray_address: str) -> None:
    from ray.job_submission import JobStatus  # as above

    from pipelines.ray_jobs.client import JobRequest, job_name, run_on_ray

    logger = get_run_logger()
    end = run_on_ray(
        ray_address,
        JobRequest(config=config, codes=() if plan.round else None),
        job_name(plan, config.output),
        on_line=lambda line: logger.info("%s", without_secrets(line)),
        metadata={"flow_run_id": str(this_run.get_id())},
    )
    if end.status is JobStatus.STOPPED:
        raise PossamError(
            f"Ray job {end.job_id} was stopped by somebody before it was done; run the same form"
            " again, it does only what is open"
        )
    if end.status is JobStatus.FAILED:
        raise PossamError(f"Ray job {end.job_id} failed: {end.reason}")


def _gpu_slot(config: LabelConfig) -> AbstractContextManager[None]:
    return concurrency(GPU_LIMIT) if config.gpus_per_worker else nullcontext()


def _workforce(config: LabelConfig, ray_address: str) -> Workforce:
    num_workers = config.num_workers
    if not (num_workers or ray_address or config.gpus_per_worker):
        num_workers = max(1, len(os.sched_getaffinity(0)) - 1)  # what the job takes by itself
    return Workforce(
        num_workers=num_workers, gpus_per_worker=config.gpus_per_worker, prices=config.prices
    )
