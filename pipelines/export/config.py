"""The settings of an export, from which the flow's form and the command's flags are made."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pipelines.export.export_format import ExportFormat
from pipelines.export.protocol import ImageUse
from pipelines.settings.shared_fields import AllowedHosts
from pipelines.storage.addresses import normalise_location
from possam_core.labels.quality import GRADES
from possam_core.settings import Setting, require_valid


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Which labels of which run to export, in which format, and to which folder.

    Example:
        >>> from pipelines import ExportConfig, ExportFormat
        >>> config = ExportConfig(run="run", output="coco", format=ExportFormat.COCO_PANOPTIC)
        >>> config.format.value
        'coco-panoptic'
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    run: Annotated[
        str,
        Setting(help="run folder; local or s3://", example="s3://street-labels/photos-2026-11"),
    ]
    output: Annotated[
        str,
        Setting(
            help="folder of its own; the same one again goes on with what is missing",
            example="s3://street-labels/photos-2026-11/export/coco",
        ),
    ]
    format: Annotated[ExportFormat, Setting(help="what the export is for")]
    where: Annotated[
        str | None,
        Setting(
            title="Only where",
            help="SQL condition over one row an image",
            unset="all",
            example="mean_score > 0.6 and num_segments > 2",
        ),
    ] = None
    min_grade: Annotated[
        Literal["A", "B", "C", "D"] | None,
        Setting(
            title="Grade at least",
            help="keep images with this grade or a better",
            unset="all grades",
        ),
    ] = None
    uncalibrated: Annotated[
        bool, Setting(help="choose by grades even where they are not calibrated")
    ] = False
    classes: Annotated[
        str | None,
        Setting(
            help="names with commas, or a YAML that maps new names to old ones",
            unset="all",
            example="person, car",
        ),
    ] = None
    val_share: Annotated[
        float,
        Setting(
            title="Share for validation",
            help="share of the images for validation; the rest is for training",
            ge=0,
            lt=1,
            advice="0.1 is a tenth",
            example=0.1,
        ),
    ] = 0.0
    labels_only: Annotated[bool, Setting(help="leave the images where they are")] = False
    num_workers: Annotated[
        int | None,
        Setting(
            title="Processes",
            help="processes at work at once",
            ge=1,
            advice="leave it out for the default",
            unset="one for each CPU",
        ),
    ] = None
    allowed_hosts: AllowedHosts = ()

    def __post_init__(self) -> None:
        for name in ("run", "output"):
            object.__setattr__(self, name, normalise_location(getattr(self, name)))
        require_valid(self, self._place_mistake(), self._images_mistake())

    def _place_mistake(self) -> str:
        if self.run != self.output and not self.run.startswith(f"{self.output}/"):
            return ""
        return (
            f"output must be a folder of its own, got {self.output} for the run {self.run};"
            f" {self.run}/export/NAME would do"
        )

    def _images_mistake(self) -> str:
        if not self.labels_only or self.format.writer.image_use is not ImageUse.COPIED:
            return ""
        return f"labels_only must be left out for {self.format}, which holds the images"

    @property
    def chooses_by_grade(self) -> bool:
        """Whether a grade keeps images out."""
        return self.min_grade not in (None, GRADES[-1])

    @property
    def copies_images(self) -> bool:
        """Whether the image files become part of the export."""
        return self.format.writer.image_use is not ImageUse.LINKED and not self.labels_only
