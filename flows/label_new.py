"""Label what is new in a corpus that grows: on a schedule, each time in a run folder of its own."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

from flows.corpus_form import LabelCorpusForm, label_config, problems
from flows.events import RunEvents
from flows.form import Preset, VocabularyChoice, shown, together
from flows.label_corpus import CORPUS, judge, label, summarise
from flows.logs import our_logs_in_run
from flows.steps import in_words
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
        str | None,
        shown(3, "Checkpoint", "Path, s3:// or hf:// address of a trained head"),
    ] = None
    vocabulary: Annotated[VocabularyChoice, shown(4, "Vocabulary", "The classes to look for")] = (
        VocabularyChoice.MODELS_OWN
    )
    vocabulary_file: Annotated[
        str | None,
        shown(5, "Vocabulary file", "YAML of your own classes, if that is the vocabulary chosen"),
    ] = None
    classes: Annotated[
        str | None,
        shown(6, "Only these classes", "Names from the vocabulary, with commas; empty: all"),
    ] = None
    limit: Annotated[
        int | None,
        shown(7, "Limit", "Label at most so many images a time; the next time goes on"),
    ] = None
    max_error_share: Annotated[
        float | None, shown(8, "Errors at most", "Share of the images without labels")
    ] = 0.2
    min_mean_score: Annotated[
        float | None, shown(9, "Mean score at least", "Over the labelled images, in [0, 1]")
    ] = None
    min_mean_grade: Annotated[
        float | None, shown(10, "Mean grade at least", "4 is all A, 3 is all B, 1 is all D")
    ] = None
    reference: Annotated[
        str | None,
        shown(
            11, "Reference run", "Run folder whose classes, sizes and scores these must resemble"
        ),
    ] = None
    max_drift: Annotated[
        float,
        shown(12, "Drift at most", "Population stability index; from 0.25 on much has changed"),
    ] = 0.25
    ray_address: Annotated[
        str | None,
        shown(
            13,
            "Ray cluster",
            "Address of Ray's dashboard; empty: label where the flow runs",
            examples=["http://ray-head:8265"],
        ),
    ] = None
    num_workers: Annotated[
        int | None,
        shown(14, "Workers", "Models at work at once; empty: one less than CPUs, one for each GPU"),
    ] = None
    gpus_per_worker: Annotated[
        float | None, shown(15, "GPUs of a worker", "Empty: as the preset; 0: label on CPUs")
    ] = None
    shard_size: Annotated[int | None, shown(16, "Images in a file", "Empty: as the preset")] = None
    error_budget: Annotated[
        float, shown(17, "Stop at errors", "Stop by itself when a larger share of images fails")
    ] = 0.5
    allowed_hosts: Annotated[
        tuple[str, ...], shown(18, "Web hosts", "Whose addresses a manifest may name")
    ] = ()


def stop_ray_jobs_of_series(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Stop the Ray jobs of a cancelled run, in case its process was killed before it could."""
    form = flow_run.parameters["form"]
    if form.get("ray_address") is None:
        return
    from pipelines.ray_job import RayJobs  # Ray: seconds that a wrong form does without

    output = normalise_location(form["output"])
    RayJobs(form["ray_address"]).stop_runs(lambda location: location.startswith(f"{output}/"))


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
        reference = None if form.reference is None else summarise(form.reference)
        for run in find_unfinished(config):
            get_run_logger().info("finishing %s first", run.output)
            label_and_judge(run, corpus, reference)
        new = plan_new(config)
        if new is None:
            get_run_logger().info("nothing is new in %s", form.images)
        else:
            label_and_judge(new, corpus, reference)


@task
@in_words
def find_unfinished(config: LabelConfig) -> list[LabelConfig]:
    """The runs of the series that have work left."""
    return Series(config).unfinished()


@task
@in_words
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
