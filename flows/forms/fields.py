"""Fields that the forms of several flows have in common, as they appear there."""

from typing import Annotated

from flows.forms.checks import Preset, VocabularyChoice, shown

PresetField = Annotated[
    Preset, shown("Preset", "Model and settings that suit it; fields below win over it")
]
CheckpointField = Annotated[
    str,
    shown(
        "Checkpoint",
        "Path, s3:// or hf:// address of a trained head; SAM-B and SAM-H need one",
        examples=["/models/possam-vit-b-head.safetensors"],
    ),
]
VocabularyField = Annotated[VocabularyChoice, shown("Vocabulary", "The classes to look for")]
VocabularyFileField = Annotated[
    str,
    shown(
        "Vocabulary file",
        "YAML of your own classes, if that is the vocabulary chosen",
        examples=["/data/street.yaml"],
    ),
]
ClassesField = Annotated[
    str,
    shown(
        "Only these classes",
        "Names from the vocabulary, with commas; empty: all",
        examples=["person, car, road"],
    ),
]
MaxErrorShareField = Annotated[
    float, shown("Errors at most", "Share of the images without labels; 1: any")
]
MinMeanScoreField = Annotated[
    float, shown("Mean score at least", "Over the labelled images, up to 1; 0: any")
]
MinMeanGradeField = Annotated[
    float, shown("Mean grade at least", "4 is all A, 3 is all B, 1 is all D; 0: any")
]
ReferenceField = Annotated[
    str,
    shown(
        "Reference run",
        "Run folder whose classes, sizes and scores these must resemble; empty: none",
    ),
]
MaxDriftField = Annotated[
    float,
    shown("Drift at most", "Population stability index; from 0.25 on much has changed"),
]
RayAddressField = Annotated[
    str,
    shown(
        "Ray cluster",
        "Address of Ray's dashboard; empty: label where the flow runs",
        examples=["http://ray-head:8265"],
    ),
]
NumWorkersField = Annotated[
    int,
    shown("Workers", "Models at work at once; 0: one less than CPUs, or one for each GPU"),
]
GpusPerWorkerField = Annotated[
    float, shown("GPUs of a worker", "-1: as the preset; 0: label on CPUs")
]
ShardSizeField = Annotated[int, shown("Images in a file", "0: as the preset")]
ErrorBudgetField = Annotated[
    float, shown("Stop at errors", "Stop by itself when a larger share of images fails")
]
SingleWriterField = Annotated[
    bool,
    shown("Single writer", "For stores without conditional writes: only one run at a time"),
]
AllowedHostsField = Annotated[
    tuple[str, ...], shown("Web hosts", "Whose addresses a manifest may name")
]
