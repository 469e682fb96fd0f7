"""Label again the images of a finished run that failed, where that may help."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

from flows.artifacts import overview_table
from flows.failures import flow_body, task_body
from flows.forms.checks import mistakes_in, one_message, ray_address_problems
from flows.forms.fields import ErrorBudgetField, NumWorkersField, RayAddressField, SingleWriterField
from flows.forms.form import FORM, out_of_bounds, settings_in
from flows.forms.form_field import field_of, form_field
from flows.labelling import label_round, stop_jobs_on_cluster
from flows.logs import package_logs_in_run
from pipelines.monitor.advice import CAN_RETRY
from pipelines.planning.retry import prepare_retry, retry_config
from pipelines.redaction import without_secrets
from pipelines.run.folder import RunFolder
from pipelines.run.plan import load_rounds
from pipelines.settings.label import LabelConfig
from pipelines.stats import run_statistics
from pipelines.storage.addresses import normalise_location
from possam_core.errors import ConfigError
from possam_core.images.decode import ImageErrorCode


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryFailedForm:
    """Which run, and which of its errors."""

    __pydantic_config__ = FORM

    run: Annotated[
        str,
        form_field(
            "Run",
            "Run folder, finished; local or s3://",
            example="s3://street-labels/photos-2026-11",
        ),
    ]
    codes: Annotated[
        str,
        form_field(
            "Errors",
            "Codes to try again, with commas; empty: those where a retry may help",
            example="not_found, corrupt_read",
        ),
    ] = ""
    ray_address: RayAddressField = ""
    num_workers: NumWorkersField = 0
    gpus_per_worker: Annotated[float, field_of(LabelConfig, "gpus_per_worker")] = 0.0
    allowed_hosts: Annotated[
        tuple[str, ...],
        field_of(
            LabelConfig,
            "allowed_hosts",
            help="host whose web addresses the run's manifest may name",
        ),
    ] = ()
    error_budget: ErrorBudgetField = 0.5
    single_writer: SingleWriterField = False

    @property
    def error_codes(self) -> tuple[str, ...]:
        """The chosen codes, or those where a retry may help."""
        chosen = [code.strip() for code in self.codes.split(",") if code.strip()]
        return tuple(chosen or sorted(code.value for code in CAN_RETRY))


def problems(form: RetryFailedForm) -> list[str]:
    """Every mistake in the form, a sentence each; empty: the form is valid."""
    known = [code.value for code in ImageErrorCode]
    return [
        *(
            f"codes must be among {', '.join(known)}, got {code!r}"
            for code in form.error_codes
            if code not in known
        ),
        *ray_address_problems(form.ray_address),
        *(out_of_bounds(form) or mistakes_in(partial(_config, form))),
    ]


def stop_ray_jobs_of_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Stop the Ray job of a cancelled run, as `stop_ray_jobs` does."""
    form = flow_run.parameters["form"]
    run = normalise_location(form["run"])
    stop_jobs_on_cluster(form, lambda place: place == run)


@flow(name="retry-failed", on_cancellation=[stop_ray_jobs_of_run])
@flow_body
def retry_failed(form: RetryFailedForm) -> None:
    """Label again the images of a finished run that failed with some errors.

    A retry that was not finished is finished first. Nothing happens to a run without such errors,
    so this may follow every run.
    """
    with package_logs_in_run():
        if found := problems(form):
            raise ConfigError(one_message(found))
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


@task(cache_policy=NO_CACHE)
@task_body
def retry(config: LabelConfig, codes: tuple[str, ...], ray_address: str) -> None:
    """Label the images again that failed with one of the codes."""
    plan = prepare_retry(config, codes).plan
    get_run_logger().info("trying %d images again", plan.num_images)
    label_round(plan, config, ray_address, key="retry-progress")


@task(cache_policy=NO_CACHE)
@task_body
def show(config: LabelConfig) -> None:
    """The statistics of the run as it is now."""
    create_table_artifact(
        overview_table(run_statistics(config.output)),
        key="retry-statistics",
        description=without_secrets(config.output),
    )


def _config(form: RetryFailedForm) -> LabelConfig:
    return replace(retry_config(form.run), **settings_in(form, LabelConfig))
