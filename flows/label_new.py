"""Label what is new in a corpus that grows: on a schedule, each time in a run folder of its own."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

from flows.events import RunEvents
from flows.failures import flow_body, task_body
from flows.forms.checks import one_message
from flows.forms.corpus import LabelCorpusForm, label_config, problems
from flows.forms.fields import (
    AllowedHostsField,
    CheckpointField,
    ClassesField,
    ConsistencyShareField,
    ErrorBudgetField,
    GpusPerWorkerField,
    ImagesField,
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
    UncalibratedField,
    VocabularyField,
    VocabularyFileField,
)
from flows.forms.form import FORM
from flows.forms.form_field import field_of
from flows.forms.model import AS_PRESET, Preset, VocabularyChoice
from flows.labelling import label, stop_jobs_on_cluster
from flows.logs import package_logs_in_run
from flows.quality_gate import CORPUS, judge, require_judgeable, summarise
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

    images: ImagesField
    output: Annotated[
        str,
        field_of(
            LabelConfig,
            "output",
            help="folder of the series; each time that something is new adds one run to it",
            example="s3://street-labels/nightly",
        ),
    ]
    preset: PresetField = Preset.TINY_DEMO
    checkpoint: CheckpointField = ""
    vocabulary: VocabularyField = VocabularyChoice.MODELS_OWN
    vocabulary_file: VocabularyFileField = ""
    classes: ClassesField = ""
    limit: Annotated[
        int,
        field_of(
            LabelConfig,
            "limit",
            help="label at most so many images each time; the next time continues",
            not_given=0,
        ),
    ] = 0
    consistency_share: ConsistencyShareField = 0.0
    max_error_share: MaxErrorShareField = 0.2
    min_mean_score: MinMeanScoreField = 0.0
    min_mean_grade: MinMeanGradeField = 0.0
    uncalibrated: UncalibratedField = False
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
    stop_jobs_on_cluster(form, lambda place: place.startswith(f"{output}/"))


@flow(name="label-new", on_cancellation=[stop_ray_jobs_of_series])
@flow_body
def label_new(form: LabelNewForm) -> None:
    """Label the images of a corpus that no earlier run of the series has.

    A run that was not finished is finished first. It is safe to call this at any time, twice at
    once, or not for a while.
    """
    corpus = LabelCorpusForm(**asdict(form), canary_images=0)
    with package_logs_in_run():
        if found := problems(corpus):
            raise ConfigError(one_message(found))
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
@task_body
def find_unfinished(config: LabelConfig) -> list[LabelConfig]:
    """The runs of the series that have open shards."""
    return Series(config).unfinished()


@task(cache_policy=NO_CACHE)
@task_body
def plan_new(config: LabelConfig) -> LabelConfig | None:
    """Plan a run of the new images; None: there are none."""
    return Series(config).plan_new()


def label_and_judge(
    config: LabelConfig, form: LabelCorpusForm, reference: Statistics | None
) -> None:
    """Label a planned run, and return only if it meets the thresholds.

    Raises:
        PossamError: it does not, or some of its shards are still open.
    """
    events = RunEvents(config.output)
    plan = load_plan(RunFolder(config.output))
    assert plan is not None  # the series has planned the run
    require_judgeable(form, plan)
    events.started(plan)
    try:
        label(config, form.ray_address, CORPUS)
        judge(CORPUS, config, form, events, reference)
    except Exception as error:
        events.failed(str(error))
        raise
