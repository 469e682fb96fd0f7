"""Labels a planned run where the form says: in this process, or as a job on a Ray cluster."""

import os
import signal
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import FlowRun, State
from prefect.concurrency.sync import concurrency
from prefect.flows import Flow
from prefect.runtime import flow_run as this_run
from rich.console import Console

from flows.progress import Workforce, progress_shown
from pipelines.canary import is_canary_of
from pipelines.label_config import LabelConfig
from pipelines.plan import load_plan
from pipelines.redaction import without_secrets
from pipelines.run_folder import RunFolder
from pipelines.status import read_status
from pipelines.store import normalise_location
from possam_core.errors import PossamError

GPU_LIMIT = "possam-gpu"  # a global concurrency limit; where there is none, nobody waits


def label_run(config: LabelConfig, ray_address: str | None, *, key: str) -> None:
    """Label what is open of the planned run `config`, while artifacts named by `key` show how far.

    Raises:
        PossamError: shards are open still.
    """
    with progress_shown(config.output, key=key, workforce=_workforce(config, ray_address)):
        if read_status(config.output).state == "finalised":
            get_run_logger().info("nothing is left to label in %s", config.output)
            return
        with _gpu_slot(config):
            if ray_address:
                _label_on_ray(config, ray_address)
            else:
                _label_here(config)


def stop_ray_jobs(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Stop the Ray jobs of a cancelled run, in case its process was killed before it could.

    A hook for flows whose parameter `form` has the fields `output` and `ray_address`. There is none
    for crashes: a flow that can tell has stopped its job, and of one whose process is gone the job
    goes on, so that the next run attaches to it.
    """
    form = flow_run.parameters["form"]
    if not form.get("ray_address"):
        return
    from pipelines.ray_job import RayJobs  # Ray: seconds that a wrong form does without

    output = normalise_location(form["output"])
    RayJobs(form["ray_address"]).stop_runs(
        lambda location: location == output or is_canary_of(location, output)
    )


def _label_here(config: LabelConfig) -> None:
    from pipelines.runner import run_label  # as above
    from pipelines.summary import why_open

    report = run_label(config, console=Console(quiet=True))
    if report.is_stopped:
        # The runner has taken the signal for itself to end well; now it is Prefect's turn.
        signal.raise_signal(signal.SIGTERM)
    if report.manifest is None:
        raise PossamError(why_open(report))


def _label_on_ray(config: LabelConfig, ray_address: str) -> None:
    from ray.job_submission import JobStatus  # as above

    from pipelines.ray_job import JobRequest, job_name, run_on_ray

    plan = load_plan(RunFolder(config.output))
    assert plan is not None  # of a planned run
    logger = get_run_logger()
    end = run_on_ray(
        ray_address,
        JobRequest(config=config),
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


def _workforce(config: LabelConfig, ray_address: str | None) -> Workforce:
    num_workers = config.num_workers
    if not (num_workers or ray_address or config.gpus_per_worker):
        num_workers = max(1, len(os.sched_getaffinity(0)) - 1)  # what the job takes by itself
    return Workforce(
        num_workers=num_workers, gpus_per_worker=config.gpus_per_worker, prices=config.prices
    )
