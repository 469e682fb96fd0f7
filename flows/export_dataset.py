"""Export the labels of a run in a format that other programs open."""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Annotated

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.artifacts import Table
from flows.failures import flow_body, task_body
from flows.forms.checks import mistakes_in, one_message
from flows.forms.form import FORM, out_of_bounds, settings_in
from flows.forms.form_field import field_of
from flows.logs import package_logs_in_run
from pipelines.export import ExportConfig, ExportFormat, ExportReport, run_export
from pipelines.export.classes import choose_classes
from pipelines.reader import open_run
from pipelines.redaction import without_secrets
from pipelines.run.grading import require_calibrated
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

    run: Annotated[str, field_of(ExportConfig, "run")]
    output: Annotated[str, field_of(ExportConfig, "output")]
    format: Annotated[ExportFormat, field_of(ExportConfig, "format")] = ExportFormat.COCO_PANOPTIC
    where: Annotated[str, field_of(ExportConfig, "where", not_given="")] = ""
    min_grade: Annotated[
        GradeChoice, field_of(ExportConfig, "min_grade", help="A is best; D: all grades")
    ] = GradeChoice.D
    uncalibrated: Annotated[bool, field_of(ExportConfig, "uncalibrated")] = False
    classes: Annotated[str, field_of(ExportConfig, "classes", not_given="")] = ""
    val_share: Annotated[float, field_of(ExportConfig, "val_share")] = 0.0
    labels_only: Annotated[bool, field_of(ExportConfig, "labels_only")] = False
    num_workers: Annotated[int, field_of(ExportConfig, "num_workers", not_given=0)] = 0
    allowed_hosts: Annotated[tuple[str, ...], field_of(ExportConfig, "allowed_hosts")] = ()


def problems(form: ExportDatasetForm) -> list[str]:
    """Every mistake in the form, a sentence each; empty: the form is valid."""

    def choose() -> None:
        run = open_run(form.run, where=form.where or None, uncalibrated=form.uncalibrated)
        if form.min_grade is not GradeChoice.D and not form.uncalibrated:
            require_calibrated(run.uncalibrated)
        choose_classes(run.categories, form.classes or None)

    wrong = out_of_bounds(form) or mistakes_in(partial(export_config, form))
    return [*wrong, *mistakes_in(choose)]


def export_config(form: ExportDatasetForm) -> ExportConfig:
    """The export that the form asks for.

    Raises:
        ConfigError: it contradicts itself.
    """
    return ExportConfig(**settings_in(form, ExportConfig) | {"min_grade": form.min_grade.value})


@flow(name="export-dataset")
@flow_body
def export_dataset(form: ExportDatasetForm) -> None:
    """Export the labels of a run, or continue an export that was not finished."""
    with package_logs_in_run():
        if found := problems(form):
            raise ConfigError(one_message(found))
        export(export_config(form))


@task(cache_policy=NO_CACHE)
@task_body
def export(config: ExportConfig) -> None:
    """Write the export, and show what it holds."""
    report = run_export(config)
    create_table_artifact(
        export_table(report), key="export", description=without_secrets(report.location)
    )


def export_table(report: ExportReport) -> Table:
    """One row for each figure."""
    rows = [
        ("where", without_secrets(report.location)),
        ("format", report.format),
        *((f"images for {split}", f"{n:,}") for split, n in report.num_images.items()),
        ("segments", f"{report.num_segments:,}"),
        ("grades", report.grades),
        ("corrected by people", f"{report.num_corrected:,}"),
        ("left out: can no longer be read", f"{len(report.left_out):,}"),
    ]
    return [{"figure": name, "value": value} for name, value in rows]
