"""export: labels in the formats of other programs."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import RunArgument
from pipelines.cli.settings_flags import setting_flag
from pipelines.settings.label import LabelConfig

if TYPE_CHECKING:
    from pipelines.export import ExportReport

INTERRUPTED = 130

HostsOption = Annotated[list[str] | None, setting_flag(LabelConfig, "allowed_hosts")]

export_app = typer.Typer()


@export_app.command()
def export(
    run: RunArgument,
    format: Annotated[
        str,
        typer.Option(
            help="coco-panoptic, coco-instances, semantic-png, huggingface, webdataset, detectron2,"
            " fiftyone or label-studio"
        ),
    ],
    output: Annotated[str, typer.Option(metavar="DIR", help="folder of its own, local or s3://")],
    where: Annotated[
        str | None,
        typer.Option(
            metavar="SQL", help="keep these images, such as \"grade <= 'B' and mean_score > 0.6\""
        ),
    ] = None,
    min_grade: Annotated[
        str | None, typer.Option(metavar="A|B|C|D", help="keep this grade and better ones")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES|FILE",
            help="names with commas, or YAML of old names by new one; the rest becomes void",
        ),
    ] = None,
    val_share: Annotated[
        float | None, typer.Option(help="share of the images to validate on", show_default="0")
    ] = None,
    labels_only: Annotated[
        bool | None, typer.Option("--labels-only", help="do not copy the images")
    ] = None,
    num_workers: Annotated[
        int | None, typer.Option(help="processes", show_default="one for each CPU")
    ] = None,
    allowed_hosts: HostsOption = None,
) -> None:
    """Write labels in another format; the same command again does only what is left."""
    flags = dict(locals())
    from rich.console import Console

    from pipelines.export import ExportConfig, run_export
    from pipelines.settings.load import load_config

    config = load_config(ExportConfig, None, flags)
    try:
        report = run_export(config, console=Console(stderr=True))
    except KeyboardInterrupt:
        typer.echo("possam: stopped; run the same command again to export the rest", err=True)
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(_summary(report))
    for code, number in sorted(Counter(image.code for image in report.left_out).items()):
        example = next(image for image in report.left_out if image.code == code)
        typer.echo(
            f"possam: left out {number:,} images that cannot be read any more ({code}), such as"
            f" {example.uri}",
            err=True,
        )


def _summary(report: "ExportReport") -> str:
    splits = ", ".join(f"{number:,} {split}" for split, number in report.num_images.items())
    corrected = f", {report.num_corrected:,} corrected by people" if report.num_corrected else ""
    verb = "exported" if report.num_exported else "found, with nothing left to export,"
    return (
        f"{verb} {sum(report.num_images.values()):,} images ({splits}) with"
        f" {report.num_segments:,} segments{corrected} as {report.format} at {report.location}"
    )
