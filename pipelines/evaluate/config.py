"""The settings of an evaluation, of a checkpoint or of a run."""

from dataclasses import dataclass
from typing import Annotated

from pipelines.settings.shared_fields import AllowedHosts, Model, OneGpu, Precision
from pipelines.storage.addresses import normalise_location
from pipelines.train.config import DataConfig
from possam_core.settings import Setting, require_valid

Report = Annotated[
    str | None,
    Setting("folder to write a page to, local or s3://", unset="no page", example="build/val2017"),
]
NumWorst = Annotated[int, Setting("images on the page, the worst", ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """The model to evaluate, the labelled images, and the page to write."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    model: Model
    data: Annotated[DataConfig, Setting("labelled images to measure it on")]
    gpus_per_worker: OneGpu = 0
    precision: Precision = "float32"
    report: Report = None
    num_worst: NumWorst = 24

    def __post_init__(self) -> None:
        require_valid(self)
        if self.report is not None:
            object.__setattr__(self, "report", normalise_location(self.report))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRunConfig:
    """The run to evaluate, its ground truth, and the page to write."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    run: Annotated[str, Setting("run folder, local or s3://", example="my/run")]
    ground_truth: Annotated[
        str, Setting("JSON in COCO panoptic format, local or s3://", example="panoptic.json")
    ]
    masks: Annotated[
        str | None,
        Setting("folder of the id PNGs, local or s3://", unset="the JSON without its suffix"),
    ] = None
    report: Report = None
    num_worst: NumWorst = 24
    allowed_hosts: AllowedHosts = ()

    def __post_init__(self) -> None:
        require_valid(self)
        for name in ("run", "ground_truth", "masks", "report"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, normalise_location(getattr(self, name)))
