"""The gate after a labelled stage: statistics, report, and whether the thresholds are met."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import create_run_artifacts
from flows.events import RunEvents
from flows.failures import task_body
from flows.forms.corpus import LabelCorpusForm, thresholds
from pipelines.settings.label import LabelConfig
from pipelines.stats import Statistics, run_statistics
from pipelines.stats.thresholds import shortfalls
from possam_core.errors import PossamError

CANARY, CORPUS = "canary", "corpus"  # the stages that are labelled and judged


@task(cache_policy=NO_CACHE)
@task_body
def summarise(location: str) -> Statistics:
    """The statistics of a run."""
    return run_statistics(location)


@task(cache_policy=NO_CACHE)
@task_body
def report(config: LabelConfig, statistics: Statistics, missed: list[str], stage: str) -> None:
    """Write the HTML report, and show the run in the UI."""
    create_run_artifacts(config, statistics, missed, key=stage)


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
    advice = (
        f"nothing of {form.images} was labelled but the canary in {config.output}; look at its"
        " report, and choose another output for other settings"
        if stage == CANARY
        else f"the labels are kept in {config.output}; look at their report before you use them"
    )
    raise PossamError(f"the {stage} falls short: {'; '.join(missed)}. {advice.capitalize()}")
