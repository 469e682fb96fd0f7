"""Label what is new in a corpus that grows: on a schedule, each time in a run folder of its own."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

from flows.events import RunEvents
from flows.forms.checks import AS_PRESET, FORM, Preset, VocabularyChoice, shown, together
from flows.forms.corpus import LabelCorpusForm, label_config, problems
from flows.forms.fields import (
    AllowedHostsField,
    CheckpointField,
    ClassesField,
    ErrorBudgetField,
    GpusPerWorkerField,
    MaxDriftField,
    MaxErrorShareField,
    MinMeanGradeField,
    MinMeanScoreField,
    NumWorkersField,
    PresetField,
    RayAddressField,
    ReferenceField,
    ShardSizeField,
    SingleWriterField,
    VocabularyField,
    VocabularyFileField,
)
from flows.label_corpus import CORPUS, judge, label, summarise
from flows.labelling import stop_ray_jobs_at
from flows.logs import our_logs_in_run
from flows.steps import in_words, step
from pipelines.planning.series import Series
from pipelines.run.folder import RunFolder
from pipelines.run.plan import load_plan
from pipelines.settings.label import LabelConfig
from pipelines.stats import Statistics
from pipelines.storage.addresses import normalise_location
from possam_core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelNewForm:
    """Which corpus grows, where its runs go, and how good each has to be."""

    __pydantic_config__ = FORM

    images: Annotated[
        str,
        shown(
            "Images",
            "Folder, glob, manifest, tar or Parquet files; local or s3://",
            examples=["s3://street-corpus/photos"],
        ),
    ]
    output: Annotated[
        str,
        shown(
            "Output",
            "Folder of the series; each time that something is new adds one run to it",
            examples=["s3://street-labels/nightly"],
        ),
    ]
    preset: PresetField = Preset.TINY_DEMO
    checkpoint: CheckpointField = ""
    vocabulary: VocabularyField = VocabularyChoice.MODELS_OWN
    vocabulary_file: VocabularyFileField = ""
    classes: ClassesField = ""
    limit: Annotated[
        int,
        shown("Limit", "Label at most so many images a time, the next time goes on; 0: all"),
    ] = 0
    max_error_share: MaxErrorShareField = 0.2
    min_mean_score: MinMeanScoreField = 0.0
    min_mean_grade: MinMeanGradeField = 0.0
    reference: ReferenceField = ""
    max_drift: MaxDriftField = 0.25
    ray_address: RayAddressField = ""
    num_workers: NumWorkersField = 0
    gpus_per_worker: GpusPerWorkerField = AS_PRESET
    shard_size: ShardSizeField = 0
    error_budget: ErrorBudgetField = 0.5
    allowed_hosts: AllowedHostsField = ()
    single_writer: SingleWriterField = False


def stop_ray_jobs_of_series(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Stop the Ray job of a cancelled run, as `stop_ray_jobs` does."""
    form = flow_run.parameters["form"]
    output = normalise_location(form["output"])
    stop_ray_jobs_at(form, lambda place: place.startswith(f"{output}/"))


@flow(name="label-new", on_cancellation=[stop_ray_jobs_of_series])
@in_words
def label_new(form: LabelNewForm) -> None:
    """Label the images of a corpus that no earlier run of the series has.

    A run that was not finished is finished first. It is safe to call this at any time, twice at
    once, or not for a while.
    """
    corpus = LabelCorpusForm(**asdict(form), canary_images=0)
    with our_logs_in_run():
        if found := problems(corpus):
            raise ConfigError(together(found))
        config = label_config(corpus)
        reference = summarise(form.reference) if form.reference else None
        for run in find_unfinished(config):
            get_run_logger().info("finishing %s first", run.output)
            label_and_judge(run, corpus, reference)
        new = plan_new(config)
        if new is None:
            get_run_logger().info("nothing is new in %s", form.images)
        else:
            label_and_judge(new, corpus, reference)


@task(cache_policy=NO_CACHE)
@step
def find_unfinished(config: LabelConfig) -> list[LabelConfig]:
    """The runs of the series that have work left."""
    return Series(config).unfinished()


@task(cache_policy=NO_CACHE)
@step
def plan_new(config: LabelConfig) -> LabelConfig | None:
    """Plan a run of what is new."""
    return Series(config).plan_new()


def label_and_judge(
    config: LabelConfig, form: LabelCorpusForm, reference: Statistics | None
) -> None:
    """Label a planned run, and return only if it meets the thresholds.

    Raises:
        PossamError: it does not, or shards of it are open.
    """
    events = RunEvents(config.output)
    plan = load_plan(RunFolder(config.output))
    assert plan is not None  # of a planned run
    events.started(plan)
    try:
        label(config, form.ray_address, CORPUS)
        judge(CORPUS, config, form, events, reference)
    except Exception as error:
        events.failed(str(error))
        raise
