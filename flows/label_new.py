"""Label what is new in a corpus that grows: on a schedule, each time in a run folder of its own."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

from flows.corpus_form import LabelCorpusForm, label_config, problems
from flows.events import RunEvents
from flows.form import AS_PRESET, Preset, VocabularyChoice, shown, together
from flows.label_corpus import CORPUS, judge, label, summarise
from flows.labelling import stop_ray_jobs_at
from flows.logs import our_logs_in_run
from flows.steps import in_words, step
from pipelines.label_config import LabelConfig
from pipelines.plan import load_plan
from pipelines.run_folder import RunFolder
from pipelines.stats import Statistics
from pipelines.store import normalise_location
from pipelines.watermark import Series
from possam_core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelNewForm:
    """Which corpus grows, where its runs go, and how good each has to be."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt field is an error

    images: Annotated[
        str,
        shown(
            0,
            "Images",
            "Folder, glob, manifest, tar or Parquet files; local or s3://",
            examples=["s3://street-corpus/photos"],
        ),
    ]
    output: Annotated[
        str,
        shown(
            1,
            "Output",
            "Folder of the series; each time that something is new adds one run to it",
            examples=["s3://street-labels/nightly"],
        ),
    ]
    preset: Annotated[
        Preset, shown(2, "Preset", "Model and settings that suit it; fields below win over it")
    ] = Preset.TINY_DEMO
    checkpoint: Annotated[
        str,
        shown(
            3,
            "Checkpoint",
            "Path, s3:// or hf:// address of a trained head; SAM-B and SAM-H need one",
            examples=["/models/possam-vit-b-head.safetensors"],
        ),
    ] = ""
    vocabulary: Annotated[VocabularyChoice, shown(4, "Vocabulary", "The classes to look for")] = (
        VocabularyChoice.MODELS_OWN
    )
    vocabulary_file: Annotated[
        str,
        shown(
            5,
            "Vocabulary file",
            "YAML of your own classes, if that is the vocabulary chosen",
            examples=["/data/street.yaml"],
        ),
    ] = ""
    classes: Annotated[
        str,
        shown(
            6,
            "Only these classes",
            "Names from the vocabulary, with commas; empty: all",
            examples=["person, car, road"],
        ),
    ] = ""
    limit: Annotated[
        int,
        shown(7, "Limit", "Label at most so many images a time, the next time goes on; 0: all"),
    ] = 0
    max_error_share: Annotated[
        float, shown(8, "Errors at most", "Share of the images without labels; 1: any")
    ] = 0.2
    min_mean_score: Annotated[
        float, shown(9, "Mean score at least", "Over the labelled images, up to 1; 0: any")
    ] = 0.0
    min_mean_grade: Annotated[
        float, shown(10, "Mean grade at least", "4 is all A, 3 is all B, 1 is all D; 0: any")
    ] = 0.0
    reference: Annotated[
        str,
        shown(
            11,
            "Reference run",
            "Run folder whose classes, sizes and scores these must resemble; empty: none",
        ),
    ] = ""
    max_drift: Annotated[
        float,
        shown(12, "Drift at most", "Population stability index; from 0.25 on much has changed"),
    ] = 0.25
    ray_address: Annotated[
        str,
        shown(
            13,
            "Ray cluster",
            "Address of Ray's dashboard; empty: label where the flow runs",
            examples=["http://ray-head:8265"],
        ),
    ] = ""
    num_workers: Annotated[
        int,
        shown(14, "Workers", "Models at work at once; 0: one less than CPUs, or one for each GPU"),
    ] = 0
    gpus_per_worker: Annotated[
        float, shown(15, "GPUs of a worker", "-1: as the preset; 0: label on CPUs")
    ] = AS_PRESET
    shard_size: Annotated[int, shown(16, "Images in a file", "0: as the preset")] = 0
    error_budget: Annotated[
        float, shown(17, "Stop at errors", "Stop by itself when a larger share of images fails")
    ] = 0.5
    allowed_hosts: Annotated[
        tuple[str, ...], shown(18, "Web hosts", "Whose addresses a manifest may name")
    ] = ()


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
