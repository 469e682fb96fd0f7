"""The command export, which writes labels in the formats of other programs."""

from collections import Counter
from typing import TYPE_CHECKING

import typer

from pipelines.cli.options import JsonOption, interruptible, print_json
from pipelines.cli.settings_flags import takes_settings
from pipelines.export.config import ExportConfig
from possam_core.errors import counted

if TYPE_CHECKING:
    from pipelines.export import ExportReport

export_app = typer.Typer()


@export_app.command()
@takes_settings(ExportConfig, arguments=("run",))
def export(settings: ExportConfig, as_json: JsonOption = False) -> None:
    """Write labels in another format; the same command again exports only what is left."""
    from rich.console import Console

    from pipelines.export import run_export

    with interruptible("export the rest"):
        report = run_export(settings, console=Console(stderr=True))
    if as_json:
        print_json(report)
        return
    typer.echo(_summary(report))
    for code, number in sorted(Counter(image.code for image in report.left_out).items()):
        example = next(image for image in report.left_out if image.code == code)
        typer.echo(
            f"possam: left out {counted(number, 'image')} that can no longer be read ({code}),"
            f" such as {example.uri}",
            err=True,
        )


def _summary(report: "ExportReport") -> str:
    splits = ", ".join(f"{number:,} {split}" for split, number in report.num_images.items())
    corrected = f", {report.num_corrected:,} corrected by people" if report.num_corrected else ""
    verb = "exported" if report.num_exported else "found, with nothing left to export,"
    return (
        f"{verb} {counted(sum(report.num_images.values()), 'image')} ({splits}) with"
        f" {counted(report.num_segments, 'segment')}{corrected} as {report.format}"
        f" at {report.location}"
    )
