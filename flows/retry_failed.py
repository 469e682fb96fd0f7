"""Label again the images of a finished run that failed, where that may help."""

import signal
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.runtime import flow_run as this_run
from rich.console import Console

from flows.figures import overview_table
from flows.form import mistakes_in, ray_address_problems, shown, together
from flows.logs import our_logs_in_run
from flows.progress import Workforce, progress_shown
from flows.steps import in_words
from pipelines.advice import CAN_RETRY
from pipelines.label_config import LabelConfig
from pipelines.plan import Plan, load_rounds
from pipelines.redaction import without_secrets
from pipelines.retry import prepare_retry, retry_config
from pipelines.run_folder import RunFolder
from pipelines.stats import run_statistics
from pipelines.store import normalise_location
from possam_core.errors import ConfigError, PossamError
from possam_core.image_decode import ImageErrorCode


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryFailedForm:
    """Which run, and which of its errors."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt field is an error

    run: Annotated[
        str,
        shown(
            0,
            "Run",
            "Run folder, finished; local or s3://",
            examples=["s3://street-labels/photos-2026-11"],
        ),
    ]
    codes: Annotated[
        str | None,
        shown(
            1,
            "Errors",
            "Codes to try again, with commas; empty: those where a retry may help",
            examples=["not_found, corrupt_read"],
        ),
    ] = None
    ray_address: Annotated[
        str | None,
        shown(
            2,
            "Ray cluster",
            "Address of Ray's dashboard; empty: label where the flow runs",
            examples=["http://ray-head:8265"],
        ),
    ] = None
    num_workers: Annotated[
        int | None,
        shown(3, "Workers", "Models at work at once; empty: one less than CPUs, one for each GPU"),
    ] = None
    gpus_per_worker: Annotated[float, shown(4, "GPUs of a worker", "0: label on CPUs")] = 0.0
    allowed_hosts: Annotated[
        tuple[str, ...], shown(5, "Web hosts", "Whose addresses the run's manifest names")
    ] = ()

    @property
    def error_codes(self) -> tuple[str, ...]:
        """The chosen codes, or those where a retry may help."""
        chosen = [code.strip() for code in (self.codes or "").split(",") if code.strip()]
        return tuple(chosen or sorted(code.value for code in CAN_RETRY))


def problems(form: RetryFailedForm) -> list[str]:
    """Every mistake in the form, each in a sentence; none: it can be worked with."""
    known = [code.value for code in ImageErrorCode]
    return [
        *(
            f"codes must be among {', '.join(known)}, got {code!r}"
            for code in form.error_codes
            if code not in known
        ),
        *ray_address_problems(form.ray_address),
        *mistakes_in(partial(_config, form)),
    ]


def stop_ray_jobs_of_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Stop the Ray jobs of a cancelled run, in case its process was killed before it could."""
    form = flow_run.parameters["form"]
    if form.get("ray_address") is None:
        return
    from pipelines.ray_job import RayJobs  # Ray: seconds that a wrong form does without

    run = normalise_location(form["run"])
    RayJobs(form["ray_address"]).stop_runs(lambda location: location == run)


@flow(name="retry-failed", on_cancellation=[stop_ray_jobs_of_run])
@in_words
def retry_failed(form: RetryFailedForm) -> None:
    """Label again the images of a finished run that failed with some errors.

    A retry that was not finished is finished first. Nothing happens to a run without such errors,
    so this may follow every run.
    """
    with our_logs_in_run():
        if found := problems(form):
            raise ConfigError(together(found))
        config = _config(form)
        codes = open_codes(config, form.error_codes)
        if codes is None:
            get_run_logger().info("no image of %s failed with one of these errors", form.run)
        else:
            retry(config, codes, form.ray_address)
        show(config)


def open_codes(config: LabelConfig, wanted: tuple[str, ...]) -> tuple[str, ...] | None:
    """The codes to retry: empty, to finish an earlier retry; None: there is nothing to do."""
    run = RunFolder(config.output)
    last = load_rounds(run)[-1]
    if last.round and len(run.committed_shards(last.round)) < last.num_shards:
        return ()
    failed = run_statistics(config.output).errors
    return tuple(code for code in wanted if failed.get(code)) or None


@task
@in_words
def retry(config: LabelConfig, codes: tuple[str, ...], ray_address: str | None) -> None:
    """Label what failed again."""
    plan = prepare_retry(config, codes).plan
    get_run_logger().info("trying %d images again", plan.num_images)
    workforce = Workforce(num_workers=config.num_workers, gpus_per_worker=config.gpus_per_worker)
    with progress_shown(config.output, key="retry-progress", workforce=workforce):
        if ray_address is None:
            _retry_here(config)
        else:
            _retry_on_ray(config, plan, ray_address)


@task
@in_words
def show(config: LabelConfig) -> None:
    """The statistics of the run as it is now."""
    create_table_artifact(
        overview_table(run_statistics(config.output)),
        key="retry-statistics",
        description=without_secrets(config.output),
    )


def _config(form: RetryFailedForm) -> LabelConfig:
    return replace(
        retry_config(form.run),
        num_workers=form.num_workers,
        gpus_per_worker=form.gpus_per_worker,
        allowed_hosts=form.allowed_hosts,
    )


def _retry_here(config: LabelConfig) -> None:
    from pipelines.runner import run_retry  # Ray, as above
    from pipelines.summary import why_open

    report = run_retry(config, console=Console(quiet=True))
    if report.is_stopped:
        # The runner has taken the signal for itself to end well; now it is Prefect's turn.
        signal.raise_signal(signal.SIGTERM)
    if report.manifest is None:
        raise PossamError(why_open(report))


def _retry_on_ray(config: LabelConfig, plan: Plan, ray_address: str) -> None:
    from ray.job_submission import JobStatus  # as above

    from pipelines.ray_job import JobRequest, job_name, run_on_ray

    logger = get_run_logger()
    end = run_on_ray(
        ray_address,
        JobRequest(config=config, codes=()),
        job_name(plan, config.output),
        on_line=lambda line: logger.info("%s", without_secrets(line)),
        metadata={"flow_run_id": str(this_run.get_id())},
    )
    if end.status is not JobStatus.SUCCEEDED:
        reason = end.reason or "it was stopped before it was done; run the same form again"
        raise PossamError(f"Ray job {end.job_id} has not succeeded: {reason}")
