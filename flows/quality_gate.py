"""The gate after a labelled stage: statistics, report, and whether the thresholds are met."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import create_run_artifacts
from flows.events import RunEvents
from flows.failures import task_body
from flows.forms.corpus import LabelCorpusForm, thresholds
from pipelines.run.grading import not_calibrated_here, objection
from pipelines.run.plan import Plan
from pipelines.settings.label import LabelConfig
from pipelines.stats import Statistics, run_statistics
from pipelines.stats.thresholds import shortfalls
from possam_core.errors import ConfigError, PossamError

CANARY, CORPUS = "canary", "corpus"  # the stages that are labelled and judged


@task(cache_policy=NO_CACHE)
@task_body
def summarise(location: str, uncalibrated: bool = False) -> Statistics:
    """The statistics of a run; with `uncalibrated`, its grades as they are."""
    return run_statistics(location, uncalibrated=uncalibrated)


@task(cache_policy=NO_CACHE)
@task_body
def report(config: LabelConfig, statistics: Statistics, missed: list[str], stage: str) -> None:
    """Write the HTML report, and show the run in the UI."""
    create_run_artifacts(config, statistics, missed, key=stage)


def require_judgeable(form: LabelCorpusForm, plan: Plan) -> None:
    """Return only if a mean grade that is asked for can be calibrated, as far as is known yet.

    Raises:
        ConfigError: it cannot.
    """
    if form.min_mean_grade and not form.uncalibrated and (reason := objection(plan.settings)):
        raise ConfigError(
            f"min_mean_grade needs calibrated grades, but these are {not_calibrated_here(reason)},"
            " and uncalibrated takes them as they are"
        )


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
    judged = summarise(config.output, uncalibrated=True) if form.uncalibrated else statistics
    missed = shortfalls(judged, thresholds(form), reference)
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
