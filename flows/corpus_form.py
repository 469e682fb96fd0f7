"""The form of `label_corpus`, every mistake that can be made in it, and what it stands for."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

from flows.form import (
    AS_PRESET,
    PRESETS,
    ModelFields,
    Preset,
    VocabularyChoice,
    location_problems,
    mistakes_in,
    ray_address_problems,
    shown,
    time_problems,
)
from pipelines.gate import Thresholds
from pipelines.label_config import LabelConfig
from pipelines.prices import PriceConfig
from pipelines.store import is_s3, normalise_location, split_s3


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCorpusForm:
    """What to label, with what, where to, and how good it has to be."""

    # "Not given" is an empty text or 0, or -1 where 0 means something: Prefect draws `X | None` as
    # a choice between two types.

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt field is an error

    images: Annotated[
        str,
        shown(
            0,
            "Images",
            "Folder, glob, manifest, tar or Parquet files; local or s3://",
            examples=["s3://street-corpus/photos", "/data/photos/**/*.jpg"],
        ),
    ]
    output: Annotated[
        str,
        shown(
            1,
            "Output",
            "Run folder, local or s3://. The same one again goes on with what is open",
            examples=["s3://street-labels/photos-2026-11"],
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
    canary_images: Annotated[
        int,
        shown(7, "Canary", "Label so many images first, beside the output; 0: none"),
    ] = 64
    approval: Annotated[
        bool,
        shown(8, "Approval", "Wait after the canary until somebody presses Resume"),
    ] = False
    approval_hours: Annotated[
        float, shown(9, "Approval within", "Hours to wait for it; then the run fails")
    ] = 24.0
    limit: Annotated[int, shown(10, "Limit", "Plan at most so many images; 0: all")] = 0
    sample: Annotated[
        float, shown(11, "Sample", "Plan this share of the images; 0: all", examples=[0.01])
    ] = 0.0
    since: Annotated[
        str,
        shown(
            12,
            "Since",
            "Plan only what was modified from then on; UTC unless it says otherwise; empty: all",
            examples=["2026-10-01"],
        ),
    ] = ""
    max_error_share: Annotated[
        float, shown(13, "Errors at most", "Share of the images without labels; 1: any")
    ] = 0.2
    min_mean_score: Annotated[
        float, shown(14, "Mean score at least", "Over the labelled images, up to 1; 0: any")
    ] = 0.0
    min_mean_grade: Annotated[
        float, shown(15, "Mean grade at least", "4 is all A, 3 is all B, 1 is all D; 0: any")
    ] = 0.0
    reference: Annotated[
        str,
        shown(
            16,
            "Reference run",
            "Run folder whose classes, sizes and scores these must resemble; empty: none",
        ),
    ] = ""
    max_drift: Annotated[
        float,
        shown(17, "Drift at most", "Population stability index; from 0.25 on much has changed"),
    ] = 0.25
    ray_address: Annotated[
        str,
        shown(
            18,
            "Ray cluster",
            "Address of Ray's dashboard; empty: label where the flow runs",
            examples=["http://ray-head:8265"],
        ),
    ] = ""
    num_workers: Annotated[
        int,
        shown(19, "Workers", "Models at work at once; 0: one less than CPUs, or one for each GPU"),
    ] = 0
    gpus_per_worker: Annotated[
        float, shown(20, "GPUs of a worker", "-1: as the preset; 0: label on CPUs")
    ] = AS_PRESET
    shard_size: Annotated[int, shown(21, "Images in a file", "0: as the preset")] = 0
    error_budget: Annotated[
        float, shown(22, "Stop at errors", "Stop by itself when a larger share of images fails")
    ] = 0.5
    allowed_hosts: Annotated[
        tuple[str, ...], shown(23, "Web hosts", "Whose addresses a manifest may name")
    ] = ()
    worker_hour_price: Annotated[
        float, shown(24, "Price of a worker-hour", "For the cost so far; 0: not shown")
    ] = 0.0
    currency: Annotated[str, shown(25, "Currency", "Its name; nothing is converted")] = "USD"


def problems(form: LabelCorpusForm) -> list[str]:
    """Every mistake in the form, each in a sentence; none: it can be worked with."""
    return [
        *location_problems(form.images, form.output),
        *_model_fields(form).problems(),
        *time_problems("since", form.since),
        *ray_address_problems(form.ray_address),
        *mistakes_in(
            # Places and names have been looked at; the numbers are left.
            partial(_config, form, images="/corpus", output="/run", model="", vocabulary=None),
            partial(_prices, form),
            partial(thresholds, form),
        ),
        *_canary_problems(form),
        *_reference_problems(form),
        *_price_problems(form),
    ]


def label_config(form: LabelCorpusForm) -> LabelConfig:
    """The job that a form without mistakes asks for."""
    chosen = _model_fields(form)
    config = _config(
        form,
        images=form.images,
        output=form.output,
        model=chosen.model,
        vocabulary=chosen.vocabulary_source,
    )
    return replace(config, since=form.since or None, prices=_prices(form))


def thresholds(form: LabelCorpusForm) -> Thresholds:
    """What the labels must keep to.

    Raises:
        ConfigError: one of them is out of its range.
    """
    return Thresholds(
        max_error_share=form.max_error_share,
        min_mean_score=form.min_mean_score or None,
        min_mean_grade=form.min_mean_grade or None,
        max_drift=form.max_drift,
    )


def _config(
    form: LabelCorpusForm, *, images: str, output: str, model: str, vocabulary: str | None
) -> LabelConfig:
    preset = PRESETS[form.preset]
    is_given = form.gpus_per_worker != AS_PRESET
    gpus = form.gpus_per_worker if is_given else preset.gpus_per_worker
    return LabelConfig(
        images=images,
        output=output,
        model=model,
        vocabulary=vocabulary,
        precision=preset.precision,
        shard_size=form.shard_size or preset.shard_size,
        limit=form.limit or None,
        sample=form.sample or None,
        allowed_hosts=form.allowed_hosts,
        num_workers=form.num_workers or None,
        gpus_per_worker=gpus,
        error_budget=form.error_budget,
    )


def _prices(form: LabelCorpusForm) -> PriceConfig:
    return PriceConfig(currency=form.currency, worker_hour=form.worker_hour_price)


def _model_fields(form: LabelCorpusForm) -> ModelFields:
    return ModelFields(
        preset=form.preset,
        checkpoint=form.checkpoint,
        vocabulary=form.vocabulary,
        vocabulary_file=form.vocabulary_file,
        classes=form.classes,
    )


def _canary_problems(form: LabelCorpusForm) -> list[str]:
    found = []
    if form.canary_images < 0:
        found.append(f"canary_images must be 0 or more, got {form.canary_images}; 0 is no canary")
    if form.approval and form.canary_images == 0:
        found.append("approval needs a canary to look at, got canary_images 0; ask for some")
    if not form.approval_hours > 0:
        found.append(f"approval_hours must be more than 0, got {form.approval_hours:g}")
    if form.canary_images and is_s3(form.output) and not split_s3(form.output)[1].strip("/"):
        found.append(
            f"output must be below its bucket, got {form.output}; the canary lies beside it, so"
            " choose s3://bucket/run"
        )
    return found


def _reference_problems(form: LabelCorpusForm) -> list[str]:
    if not form.reference:
        return []
    found = mistakes_in(partial(normalise_location, form.reference))
    if not found and form.reference.rstrip("/") == form.output.rstrip("/"):
        found.append(f"reference must be another run than output, got {form.output} for both")
    return found


def _price_problems(form: LabelCorpusForm) -> list[str]:
    if form.worker_hour_price and form.ray_address and not form.num_workers:
        return ["num_workers must be given with a price on a Ray cluster, so that hours count"]
    return []
