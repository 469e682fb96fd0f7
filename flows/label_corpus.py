"""Label a corpus on demand: plan, canary, approval if asked, label, summarise, report, gate."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.runtime import flow_run as this_run
from prefect.states import Running

from flows.events import RunEvents
from flows.failures import flow_body, task_body
from flows.forms.checks import one_message
from flows.forms.corpus import LabelCorpusForm, label_config, problems
from flows.labelling import label, stop_ray_jobs
from flows.logs import package_logs_in_run
from flows.quality_gate import CANARY, CORPUS, judge, require_judgeable, summarise
from pipelines.planning.canary import canary_config, plan_canary
from pipelines.planning.prepare import prepare
from pipelines.run.plan import Plan
from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError, PossamError

APPROVAL_POLL_S = 2
HOUR_S = 3600


@flow(name="label-corpus", on_cancellation=[stop_ray_jobs])
@flow_body
def label_corpus(form: LabelCorpusForm) -> None:
    """Label the images of a corpus, once a canary of them has passed.

    The same form again continues with the open shards. Labels that miss a threshold are kept, and
    the run fails with the reason.
    """
    events = RunEvents(form.output)
    with package_logs_in_run(), _emitting_failure(events):
        if found := problems(form):
            raise ConfigError(one_message(found))
        config = label_config(form)
        planned = plan(config)
        require_judgeable(form, planned)
        events.started(planned)
        # Read before anything is labelled: the reference may be missing.
        reference = summarise(form.reference) if form.reference else None
        if form.canary_images:
            sample = canary_config(config, min(form.canary_images, planned.num_images))
            plan_canary(planned, config.output, sample)
            label.with_options(name="label canary")(sample, form.ray_address, CANARY)
            judge(CANARY, sample, form, events, reference)
            if form.approval:
                wait_for_approval(form.approval_hours)
        label(config, form.ray_address, CORPUS)
        judge(CORPUS, config, form, events, reference)


@task(cache_policy=NO_CACHE)
@task_body
def plan(config: LabelConfig) -> Plan:
    """Freeze the list of images, or read the one that is frozen already."""
    return prepare(config).plan


def wait_for_approval(hours: float) -> None:
    """Return once a person has resumed this run.

    Raises:
        PossamError: nobody did in time.
    """
    get_run_logger().info(
        "the canary has passed; look at its artifacts, and press Resume to label the corpus or"
        " Cancel to leave it"
    )
    try:
        pause_flow_run(timeout=max(1, round(hours * HOUR_S)), poll_interval=APPROVAL_POLL_S)
    except FlowPauseTimeout as error:
        # Of a run that is still paused, Prefect would keep its own message instead of ours.
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(str(this_run.get_id()), Running(), force=True)
        raise PossamError(
            f"expected an approval within {hours:g} hours, got none; run the same form again, the"
            " canary's labels are there"
        ) from error


@contextmanager
def _emitting_failure(events: RunEvents) -> Iterator[None]:
    """Emit the event of a failure; a signal is no failure."""
    try:
        yield
    except Exception as error:
        events.failed(str(error))
        raise
