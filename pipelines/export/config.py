"""The settings of an export: the form of the flow, and the command's flags."""

from dataclasses import dataclass
from typing import Literal

from pipelines.export.export_format import ExportFormat
from pipelines.export.protocol import ImageUse
from pipelines.storage.addresses import normalise_location
from possam_core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """What to export of which run, in which format, and where to."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    run: str  # run folder: local or s3://
    output: str  # folder of its own: local, or an s3:// prefix
    format: ExportFormat
    where: str | None = None  # keep rows for which this SQL condition holds
    min_grade: Literal["A", "B", "C", "D"] | None = None  # keep rows with this grade or a better
    classes: str | None = None  # names with commas, or a YAML of `new name: [old names]`
    val_share: float = 0.0  # of the images, in [0, 1)
    labels_only: bool = False  # do not copy the images
    num_workers: int | None = None  # processes; None: one for each CPU
    allowed_hosts: tuple[str, ...] = ()  # whose web addresses may be read

    def __post_init__(self) -> None:
        for name in ("run", "output"):
            object.__setattr__(self, name, normalise_location(getattr(self, name)))
        wrong = []
        if not 0 <= self.val_share < 1:
            wrong.append(f"val_share must be in [0, 1), got {self.val_share}; 0.1 is a tenth")
        if self.num_workers is not None and self.num_workers < 1:
            wrong.append(f"num_workers must be at least 1, got {self.num_workers}")
        if self.run == self.output or self.run.startswith(f"{self.output}/"):
            wrong.append(
                f"output must be a folder of its own, got {self.output} for the run {self.run};"
                f" {self.run}/export/NAME would do"
            )
        if self.labels_only and self.format.writer.image_use is ImageUse.COPIED:
            wrong.append(f"labels_only must be left out for {self.format}, which holds the images")
        if wrong:
            raise ConfigError("; ".join(wrong))

    @property
    def copies_images(self) -> bool:
        """Whether the image files become part of the export."""
        return self.format.writer.image_use is not ImageUse.LINKED and not self.labels_only
