"""The settings of an evaluation of a checkpoint."""

from dataclasses import dataclass
from typing import Annotated

from pipelines.settings.shared_fields import Model, OneGpu, Precision
from pipelines.storage.addresses import normalise_location
from pipelines.train.config import DataConfig
from possam_core.settings import Setting, require_valid


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """The model to evaluate, the labelled images, and the page to write."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    model: Model
    data: Annotated[DataConfig, Setting("labelled images to measure it on")]
    gpus_per_worker: OneGpu = 0
    precision: Precision = "float32"
    report: Annotated[
        str | None,
        Setting(
            "folder to write a page to, local or s3://", unset="no page", example="build/val2017"
        ),
    ] = None
    num_worst: Annotated[int, Setting("images on the page, the worst", ge=0)] = 24

    def __post_init__(self) -> None:
        require_valid(self)
        if self.report is not None:
            object.__setattr__(self, "report", normalise_location(self.report))
