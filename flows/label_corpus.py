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
from flows.forms.checks import together
from flows.forms.corpus import LabelCorpusForm, label_config, problems, thresholds
from flows.labelling import label_run, stop_ray_jobs
from flows.logs import our_logs_in_run
from flows.showing import show_run
from flows.steps import in_words, step
from pipelines.planning.canary import canary_config, plan_canary
from pipelines.planning.prepare import prepare
from pipelines.run.plan import Plan
from pipelines.settings.label import LabelConfig
from pipelines.stats import Statistics, run_statistics
from pipelines.stats.thresholds import shortfalls
from possam_core.errors import ConfigError, PossamError

APPROVAL_POLL_S = 2
HOUR_S = 3600

CANARY, CORPUS = "canary", "corpus"  # the stages that are labelled and judged


@flow(name="label-corpus", on_cancellation=[stop_ray_jobs])
@in_words
def label_corpus(form: LabelCorpusForm) -> None:
    """Label the images of a corpus, once a canary of them has passed.

    The same form again goes on with what is open. Labels that miss a threshold are kept, and the
    run fails with the reason.
    """
    events = RunEvents(form.output)
    with our_logs_in_run(), _failure_told(events):
        if found := problems(form):
            raise ConfigError(together(found))
        config = label_config(form)
        planned = plan(config)
        events.started(planned)
        # Before anything is labelled: it may be missing.
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
@step
def plan(config: LabelConfig) -> Plan:
    """Freeze the list of images, or find it frozen."""
    return prepare(config).plan


@task(cache_policy=NO_CACHE)
@step
def label(config: LabelConfig, ray_address: str, stage: str) -> None:
    """Label what is open of a planned run, here if the address of a cluster is empty."""
    label_run(config, ray_address, key=f"{stage}-progress")


@task(cache_policy=NO_CACHE)
@step
def summarise(location: str) -> Statistics:
    """The statistics of a run."""
    return run_statistics(location)


@task(cache_policy=NO_CACHE)
@step
def report(config: LabelConfig, statistics: Statistics, missed: list[str], stage: str) -> None:
    """Write the HTML report, and show the run in the UI."""
    show_run(config, statistics, missed, key=stage)


def judge(
    stage: str,
    config: LabelConfig,
    form: LabelCorpusForm,
    events: RunEvents,
    reference: Statistics | None,
) -> None:
    """Summarise and report a labelled stage, and return only if it meets the thresholds.

    Raises:
        PossamError: it misses some.
    """
    statistics = summarise(config.output)
    missed = shortfalls(statistics, thresholds(form), reference)
    report(config, statistics, missed, stage)
    if stage == CORPUS:
        events.finished(statistics)
    if not missed:
        return
    events.degraded(stage, missed, statistics)
    remedy = (
        f"nothing of {form.images} was labelled but the canary in {config.output}; look at its"
        " report, and choose another output for other settings"
        if stage == CANARY
        else f"the labels are kept in {config.output}; look at their report before you use them"
    )
    raise PossamError(f"the {stage} falls short: {'; '.join(missed)}. {remedy.capitalize()}")


def wait_for_approval(hours: float) -> None:
    """Return once somebody has resumed this run.

    Raises:
        PossamError: nobody has, in time.
    """
    get_run_logger().info(
        "the canary has passed; look at its artifacts, and press Resume to label the corpus or"
        " Cancel to leave it"
    )
    try:
        pause_flow_run(timeout=max(1, round(hours * HOUR_S)), poll_interval=APPROVAL_POLL_S)
    except FlowPauseTimeout as error:
        # A run that is still paused would end in Prefect's words instead of these.
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(str(this_run.get_id()), Running(), force=True)
        raise PossamError(
            f"expected an approval within {hours:g} hours, got none; run the same form again, the"
            " canary's labels are there"
        ) from error


@contextmanager
def _failure_told(events: RunEvents) -> Iterator[None]:
    """Tell the event of a failure; a signal is none."""
    try:
        yield
    except Exception as error:
        events.failed(str(error))
        raise
