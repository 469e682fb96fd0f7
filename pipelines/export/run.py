"""`possam export`: the labels of a run in a format that other programs open.

Sharded and resumable like labelling: a shard's part file is its commit, and the same command again
exports only shards without one. `provenance.json` is written last and marks a complete export.
"""

from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pyarrow.compute as pc
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from pipelines.bars import bars
from pipelines.export.classes import choose_classes
from pipelines.export.config import ExportConfig
from pipelines.export.export_plan import freeze, make_plan
from pipelines.export.folder import ExportFolder
from pipelines.export.parts import LeftOut, PartHead, committed_parts, read_head, read_records
from pipelines.export.protocol import Whole
from pipelines.export.unit import ExportJob
from pipelines.export.workers import export_units
from pipelines.reader import LabelledRun, open_run
from pipelines.run.grading import require_calibrated, standing
from pipelines.storage.store import trouble_named
from possam_core.errors import ConfigError

PROVENANCE_KEY = "provenance.json"
DISTRIBUTIONS = ("possam", "numpy", "pillow", "pyarrow")  # whose versions affect the bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """The result of an export."""

    location: str
    format: str
    num_images: dict[str, int]  # by split
    num_segments: int
    num_corrected: int  # images whose labels people have corrected
    grades: str  # that they are calibrated, or why they promise nothing
    left_out: tuple[LeftOut, ...]  # images that can no longer be read
    num_units: int  # shards of the run
    num_exported: int  # of them, by this call; the others were already exported


def run_export(
    config: ExportConfig,
    *,
    where: pc.Expression | None = None,
    console: Console | None = None,
) -> ExportReport:
    """Export the shards that are not exported yet, then write the files that need all of them.

    Args:
        config: the settings.
        where: a filter like `config.where`, as an expression of `pyarrow.compute`.
        console: where to show progress; None: nowhere.

    Raises:
        ConfigError: there is no such run, the filter or the classes are invalid, the output holds
            something else, no image is left, or a store failed.

    Example:
        >>> from pipelines import ExportConfig, ExportFormat, run_export
        >>> config = ExportConfig(run="run", output="coco", format=ExportFormat.COCO_PANOPTIC)
        >>> run_export(config).num_images
        {'train': 4}
    """
    if where is not None and config.where is not None:
        raise ConfigError(
            f"expected one filter, got {config.where!r} in SQL and {where} of pyarrow; use one"
        )
    run = open_filtered(config, where)
    classes = choose_classes(run.categories, config.classes)
    job = ExportJob(config=config, run=run, classes=classes, uncalibrated=run.uncalibrated)
    plan = make_plan(config, run, job.classes)
    with trouble_named(config.output), ExportFolder(config.output) as folder:
        freeze(plan, folder)
        done = set(committed_parts(folder))
        pending = [shard for shard in plan.shards if shard not in done]
        with _progress(console) as progress:
            task = progress.add_task(
                "exporting", total=len(plan.shards), completed=len(plan.shards) - len(pending)
            )
            for _ in export_units(job, pending):
                progress.advance(task)
        heads = {shard: read_head(folder, shard) for shard in plan.shards}
        report = _report(job, heads, num_exported=len(pending))
        if pending or folder.read(PROVENANCE_KEY) is None:
            _finish(job, folder, heads, report)
    return report


def open_filtered(config: ExportConfig, where: pc.Expression | None = None) -> LabelledRun:
    """The run that an export is of.

    Raises:
        ConfigError: there is no such run, the filter is invalid, or it or `min_grade` asks for
            grades that are not calibrated there.
    """
    condition = config.where if where is None else where
    run = open_run(config.run, where=condition, uncalibrated=config.uncalibrated)
    if config.chooses_by_grade and not config.uncalibrated:
        require_calibrated(run.uncalibrated)
    return run


def _progress(console: Console | None) -> Progress:
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    return bars(*columns, console=console or Console(quiet=True))


def _report(job: ExportJob, heads: dict[int, PartHead], *, num_exported: int) -> ExportReport:
    """The sums over all parts.

    Raises:
        ConfigError: no part holds an image.
    """
    config = job.config
    num_images = Counter[str]()
    for head in heads.values():
        num_images.update(head.num_images)
    left_out = tuple(image for head in heads.values() for image in head.left_out)
    if not num_images:
        reason = (
            f"none of the {len(left_out):,} kept ones can be read"
            if left_out
            else "the filter keeps none"
        )
        raise ConfigError(
            f"expected at least one image of {config.run} to export, but {reason}; widen the"
            " filter, and choose another --output or delete this one"
        )
    return ExportReport(
        location=config.output,
        format=config.format.value,
        num_images=dict(sorted(num_images.items())),
        num_segments=sum(head.num_segments for head in heads.values()),
        num_corrected=sum(head.num_corrected for head in heads.values()),
        grades=standing(job.uncalibrated),
        left_out=left_out,
        num_units=len(heads),
        num_exported=num_exported,
    )


def _finish(
    job: ExportJob, folder: ExportFolder, heads: dict[int, PartHead], report: ExportReport
) -> None:
    """Write the files that need all units, then the provenance."""
    provenance = _provenance(job, report)
    whole = Whole(
        classes=job.classes,
        folder=folder,
        provenance=provenance,
        num_images=report.num_images,
        num_images_in={
            split: {
                n: head.num_images[split] for n, head in heads.items() if split in head.num_images
            }
            for split in report.num_images
        },
        records=lambda: read_records(folder, list(heads)),
    )
    job.config.format.writer.join(whole)
    folder.flush()
    folder.put_json(PROVENANCE_KEY, provenance)
    folder.flush()


def _provenance(job: ExportJob, report: ExportReport) -> dict[str, Any]:
    """Where the labels come from and how they were exported, without times or places."""
    config, teacher = job.config, job.run.plan.settings.teacher
    return {
        **job.run.provenance,
        "teacher": None if teacher is None else teacher.to_json(),
        "format": report.format,
        "where": job.run.where_text,
        "min_grade": config.min_grade,
        "grades": report.grades,
        "val_share": config.val_share,
        "labels_only": config.labels_only,
        "num_images": report.num_images,
        "num_segments": report.num_segments,
        "num_corrected": report.num_corrected,
        "num_left_out": len(report.left_out),
        "left_out": dict(sorted(Counter(image.code for image in report.left_out).items())),
        "versions": {name: version(name) for name in DISTRIBUTIONS},
        "categories": job.classes.to_json(),
        "made_of": _made_of(job),
    }


def _made_of(job: ExportJob) -> dict[str, list[str]]:
    """The run's classes that each class of the export is made of."""
    made_of: dict[str, list[str]] = {c.name: [] for c in job.classes.classes}
    for category in job.run.categories:
        if (index := job.classes.index_of.get(category.id)) is not None:
            made_of[job.classes.classes[index].name].append(category.name)
    return made_of
