"""The settings of an evaluation of a checkpoint."""

from dataclasses import dataclass

from pipelines.storage.addresses import normalise_location
from pipelines.train.config import DataConfig
from possam_core.errors import ConfigError
from possam_core.predictor import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """Which model, on what, and what is written."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    model: str  # bundled name, path, s3:// or hf:// address that was fetched
    data: DataConfig
    use_gpu: bool = False
    precision: Precision = "float32"
    report: str | None = None  # folder of a page, local or s3://; None: no page
    num_worst: int = 24  # images on the page

    def __post_init__(self) -> None:
        if self.num_worst < 0:
            raise ConfigError(f"num_worst must be 0 or more, got {self.num_worst}")
        if self.report is not None:
            object.__setattr__(self, "report", normalise_location(self.report))
