"""The command correct, which adds annotators' corrections to a run."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import JsonOption, RunArgument, print_json
from pipelines.cli.settings_flags import setting_flag
from pipelines.settings.label import LabelConfig
from possam_core.errors import counted

corrections_app = typer.Typer()


@corrections_app.command()
def correct(
    run: RunArgument,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="COCO panoptic JSON, or Label Studio's JSON export"),
    ],
    author: Annotated[str, typer.Option(metavar="NAME", help="who is responsible for the labels")],
    format: Annotated[
        str | None,
        typer.Option(help="coco-panoptic or label-studio", show_default="what the file looks like"),
    ] = None,
    single_writer: Annotated[bool | None, setting_flag(LabelConfig, "single_writer")] = None,
    as_json: JsonOption = False,
) -> None:
    """Add annotators' labels to a run, where they replace the model's."""
    from pipelines.bars import counting
    from pipelines.corrections import correct_run

    with counting("correcting") as on_progress:
        report = correct_run(
            run,
            file,
            author=author,
            format=format,
            single_writer=bool(single_writer),
            on_image=on_progress,
        )
    if as_json:
        print_json(report)
        return
    again = f", {report.num_again:,} of them once more" if report.num_again else ""
    if report.num_same:
        typer.echo(
            f"possam: {report.num_same:,} of {report.num_images:,} have the same segments as"
            " before: from now on they count as checked by a person; to undo that, delete the"
            " file, and export only what was checked",
            err=True,
        )
    typer.echo(
        f"corrected {counted(report.num_images, 'image')}{again};"
        f" wrote {report.location}/{report.key}"
    )
