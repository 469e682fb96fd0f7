"""The form of `label_corpus`, every mistake that can be made in it, and what it stands for."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

from flows.forms.checks import (
    AS_PRESET,
    FORM,
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
from pipelines.settings.label import LabelConfig
from pipelines.settings.prices import PriceConfig
from pipelines.stats.thresholds import Thresholds
from pipelines.storage.addresses import is_s3, normalise_location, split_s3


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCorpusForm:
    """What to label, with what, where to, and how good it has to be."""

    # "Not given" is an empty text or 0, or -1 where 0 means something: Prefect draws `X | None` as
    # a choice between two types.

    __pydantic_config__ = FORM

    images: Annotated[
        str,
        shown(
            "Images",
            "Folder, glob, manifest, tar or Parquet files; local or s3://",
            examples=["s3://street-corpus/photos", "/data/photos/**/*.jpg"],
        ),
    ]
    output: Annotated[
        str,
        shown(
            "Output",
            "Run folder, local or s3://. The same one again goes on with what is open",
            examples=["s3://street-labels/photos-2026-11"],
        ),
    ]
    preset: PresetField = Preset.TINY_DEMO
    checkpoint: CheckpointField = ""
    vocabulary: VocabularyField = VocabularyChoice.MODELS_OWN
    vocabulary_file: VocabularyFileField = ""
    classes: ClassesField = ""
    canary_images: Annotated[
        int,
        shown("Canary", "Label so many images first, beside the output; 0: none"),
    ] = 64
    approval: Annotated[
        bool,
        shown("Approval", "Wait after the canary until somebody presses Resume"),
    ] = False
    approval_hours: Annotated[
        float, shown("Approval within", "Hours to wait for it; then the run fails")
    ] = 24.0
    limit: Annotated[int, shown("Limit", "Plan at most so many images; 0: all")] = 0
    sample: Annotated[
        float, shown("Sample", "Plan this share of the images; 0: all", examples=[0.01])
    ] = 0.0
    since: Annotated[
        str,
        shown(
            "Since",
            "Plan only what was modified from then on; UTC unless it says otherwise; empty: all",
            examples=["2026-10-01"],
        ),
    ] = ""
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
    worker_hour_price: Annotated[
        float, shown("Price of a worker-hour", "For the cost so far; 0: not shown")
    ] = 0.0
    currency: Annotated[str, shown("Currency", "Its name; nothing is converted")] = "USD"


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
        single_writer=form.single_writer,
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
