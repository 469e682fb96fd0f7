"""Fields that the forms of several flows have in common, as they appear there."""

from typing import Annotated

from flows.forms.form_field import field_of, form_field
from flows.forms.model import AS_PRESET, Preset, VocabularyChoice
from pipelines.settings.label import LabelConfig
from pipelines.stats.thresholds import Thresholds

AS_THE_PRESET = "as the preset"

ImagesField = Annotated[str, field_of(LabelConfig, "images")]
PresetField = Annotated[
    Preset, form_field("Preset", "Model and settings that suit it; fields below win over it")
]
CheckpointField = Annotated[
    str,
    field_of(
        LabelConfig,
        "model",
        title="Checkpoint",
        not_given="",
        means="as the preset; SAM-B and SAM-H need one",
    ),
]
VocabularyField = Annotated[VocabularyChoice, form_field("Vocabulary", "The classes to look for")]
VocabularyFileField = Annotated[
    str,
    form_field(
        "Vocabulary file",
        "YAML of your own classes, if that is the vocabulary chosen",
        example="/data/street.yaml",
    ),
]
ClassesField = Annotated[
    str,
    form_field(
        "Only these classes",
        "Names from the vocabulary, with commas; empty: all",
        example="person, car, road",
    ),
]
ConsistencyShareField = Annotated[float, field_of(LabelConfig, "consistency_share")]
MaxErrorShareField = Annotated[float, field_of(Thresholds, "max_error_share")]
MinMeanScoreField = Annotated[float, field_of(Thresholds, "min_mean_score", not_given=0.0)]
MinMeanGradeField = Annotated[float, field_of(Thresholds, "min_mean_grade", not_given=0.0)]
UncalibratedField = Annotated[
    bool,
    form_field("Uncalibrated grades", "Judge by grades even where they are not calibrated"),
]
ReferenceField = Annotated[
    str,
    form_field(
        "Reference run",
        "Run folder whose classes, sizes and scores these must resemble; empty: none",
    ),
]
MaxDriftField = Annotated[float, field_of(Thresholds, "max_drift")]
RayAddressField = Annotated[
    str,
    form_field(
        "Ray cluster",
        "Address of Ray's dashboard; empty: label where the flow runs",
        example="http://ray-head:8265",
    ),
]
NumWorkersField = Annotated[int, field_of(LabelConfig, "num_workers", not_given=0)]
GpusPerWorkerField = Annotated[
    float, field_of(LabelConfig, "gpus_per_worker", not_given=AS_PRESET, means=AS_THE_PRESET)
]
ShardSizeField = Annotated[
    int, field_of(LabelConfig, "shard_size", not_given=0, means=AS_THE_PRESET)
]
ErrorBudgetField = Annotated[float, field_of(LabelConfig, "error_budget")]
AllowedHostsField = Annotated[tuple[str, ...], field_of(LabelConfig, "allowed_hosts")]
SingleWriterField = Annotated[bool, field_of(LabelConfig, "single_writer")]
