"""The form of `label_corpus`, the mistakes in it, and the job that it asks for."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from flows.forms.checks import location_problems, mistakes_in, ray_address_problems
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
from flows.forms.form import FORM, out_of_bounds, settings_in
from flows.forms.form_field import field_of, form_field
from flows.forms.model import AS_PRESET, PRESETS, ModelFields, Preset, VocabularyChoice
from pipelines.settings.label import LabelConfig
from pipelines.settings.prices import PriceConfig
from pipelines.stats.thresholds import Thresholds
from pipelines.storage.addresses import is_s3, normalise_location, split_s3


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCorpusForm:
    """What to label, with what, where to, and how good it has to be."""

    __pydantic_config__ = FORM

    images: ImagesField
    output: Annotated[str, field_of(LabelConfig, "output")]
    preset: PresetField = Preset.TINY_DEMO
    checkpoint: CheckpointField = ""
    vocabulary: VocabularyField = VocabularyChoice.MODELS_OWN
    vocabulary_file: VocabularyFileField = ""
    classes: ClassesField = ""
    canary_images: Annotated[
        int,
        form_field(
            "Canary",
            "Label so many images first, beside the output; 0: none",
            ge=0,
            advice="0 is no canary",
        ),
    ] = 64
    approval: Annotated[
        bool, form_field("Approval", "Wait after the canary until a person presses Resume")
    ] = False
    approval_hours: Annotated[
        float, form_field("Approval within", "Hours to wait for it; then the run fails", gt=0)
    ] = 24.0
    limit: Annotated[int, field_of(LabelConfig, "limit", not_given=0)] = 0
    sample: Annotated[float, field_of(LabelConfig, "sample", not_given=0.0)] = 0.0
    since: Annotated[str, field_of(LabelConfig, "since", not_given="")] = ""
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
    worker_hour_price: Annotated[
        float,
        field_of(
            PriceConfig,
            "worker_hour",
            title="Price of a worker-hour",
            not_given=0.0,
            means="no cost so far is shown",
        ),
    ] = 0.0
    currency: Annotated[str, field_of(PriceConfig, "currency")] = "USD"


def problems(form: LabelCorpusForm) -> list[str]:
    """Every mistake in the form, a sentence each; empty: the form is valid."""
    return [
        *location_problems(form.images, form.output),
        *_model_fields(form).problems(),
        *out_of_bounds(form),
        *ray_address_problems(form.ray_address),
        *_canary_problems(form),
        *_reference_problems(form),
        *_price_problems(form),
    ]


def label_config(form: LabelCorpusForm) -> LabelConfig:
    """The job that a form without mistakes asks for."""
    preset, chosen = PRESETS[form.preset], _model_fields(form)
    settings = {
        "precision": preset.precision,
        "shard_size": preset.shard_size,
        "gpus_per_worker": preset.gpus_per_worker,
        **settings_in(form, LabelConfig),
        "model": chosen.model,
        "vocabulary": chosen.vocabulary_source,
        "prices": PriceConfig(**settings_in(form, PriceConfig)),
    }
    return LabelConfig(**settings)


def thresholds(form: LabelCorpusForm) -> Thresholds:
    """The thresholds that a form without mistakes sets for the labels."""
    return Thresholds(**settings_in(form, Thresholds))


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
    if form.approval and form.canary_images == 0:
        found.append("approval needs a canary to look at, got canary_images 0; choose a number")
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
        return [
            "num_workers must be given with a price on a Ray cluster, because the cost is counted"
            " in worker-hours"
        ]
    return []
