"""Export the labels of a run in a format that other programs open."""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Annotated

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.figures import Table
from flows.forms.checks import FORM, mistakes_in, shown, together
from flows.logs import our_logs_in_run
from flows.steps import in_words, step
from pipelines.export import ExportConfig, ExportFormat, ExportReport, run_export
from pipelines.export.classes import choose_classes
from pipelines.reader import open_run
from pipelines.redaction import without_secrets
from possam_core.errors import ConfigError


class GradeChoice(StrEnum):
    """The worst grade to keep."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportDatasetForm:
    """Which labels, in which format, and where to."""

    __pydantic_config__ = FORM

    run: Annotated[
        str,
        shown("Run", "Run folder; local or s3://", examples=["s3://street-labels/photos-2026-11"]),
    ]
    output: Annotated[
        str,
        shown(
            "Output",
            "Folder of its own. The same one again goes on with what is missing",
            examples=["s3://street-labels/photos-2026-11/export/coco"],
        ),
    ]
    format: Annotated[ExportFormat, shown("Format", "What the export is for")] = (
        ExportFormat.COCO_PANOPTIC
    )
    where: Annotated[
        str,
        shown(
            "Only where",
            "SQL condition over one row an image; empty: all",
            examples=["mean_score > 0.6 and num_segments > 2"],
        ),
    ] = ""
    min_grade: Annotated[GradeChoice, shown("Grade at least", "A is best; D: all grades")] = (
        GradeChoice.D
    )
    classes: Annotated[
        str,
        shown(
            "Classes",
            "Names with commas, or a YAML that maps new names to old ones; empty: all",
            examples=["person, car"],
        ),
    ] = ""
    val_share: Annotated[
        float, shown("Share for validation", "Of the images; the rest is for training")
    ] = 0.0
    labels_only: Annotated[bool, shown("Labels only", "Leave the images where they are")] = False
    num_workers: Annotated[int, shown("Processes", "0: one for each CPU")] = 0
    allowed_hosts: Annotated[
        tuple[str, ...], shown("Web hosts", "Whose addresses the run's manifest names")
    ] = ()


def problems(form: ExportDatasetForm) -> list[str]:
    """Every mistake in the form, each in a sentence; none: it can be worked with."""

    def choose() -> None:
        run = open_run(form.run, where=form.where or None)
        choose_classes(run.categories, form.classes or None)

    return mistakes_in(partial(export_config, form), choose)


def export_config(form: ExportDatasetForm) -> ExportConfig:
    """The export that the form asks for.

    Raises:
        ConfigError: it contradicts itself.
    """
    return ExportConfig(
        run=form.run,
        output=form.output,
        format=form.format,
        where=form.where or None,
        min_grade=form.min_grade.value,
        classes=form.classes or None,
        val_share=form.val_share,
        labels_only=form.labels_only,
        num_workers=form.num_workers or None,
        allowed_hosts=form.allowed_hosts,
    )


@flow(name="export-dataset")
@in_words
def export_dataset(form: ExportDatasetForm) -> None:
    """Export the labels of a run, or go on with an export that was not finished."""
    with our_logs_in_run():
        if found := problems(form):
            raise ConfigError(together(found))
        export(export_config(form))


@task(cache_policy=NO_CACHE)
@step
def export(config: ExportConfig) -> None:
    """Write the export, and show what is in it."""
    report = run_export(config)
    create_table_artifact(
        export_table(report), key="export", description=without_secrets(report.location)
    )


def export_table(report: ExportReport) -> Table:
    """One row a figure."""
    rows = [
        ("where", without_secrets(report.location)),
        ("format", report.format),
        *((f"images for {split}", f"{n:,}") for split, n in report.num_images.items()),
        ("segments", f"{report.num_segments:,}"),
        ("corrected by people", f"{report.num_corrected:,}"),
        ("left out: can no longer be read", f"{len(report.left_out):,}"),
    ]
    return [{"figure": name, "value": value} for name, value in rows]
