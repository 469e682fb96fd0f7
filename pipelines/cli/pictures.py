"""The commands report, compare, playground and demo, which show labels."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import MOST, JsonOption, RunArgument, print_json, print_report
from pipelines.cli.settings_flags import setting_flag
from pipelines.settings.label import LabelConfig
from possam_core.errors import counted
from possam_core.settings import LARGEST_INT

HostsOption = Annotated[list[str] | None, setting_flag(LabelConfig, "allowed_hosts")]

pictures_app = typer.Typer()

FolderOption = Annotated[
    str | None,
    typer.Option(
        metavar="DIR", help="folder to write to, local or s3://", show_default="in the run"
    ),
]


@pictures_app.command()
def report(
    run: RunArgument,
    output: FolderOption = None,
    max_images: Annotated[
        int,
        typer.Option(
            min=1, max=MOST, help="pictures at most: half the worst, half a random sample"
        ),
    ] = 2000,
    allowed_hosts: HostsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a folder that shows a run in a browser: filters, histograms, overlays, worst first."""
    from pipelines.report import write_report

    hosts = tuple(allowed_hosts or ())
    page = write_report(run, output, max_images=max_images, allowed_hosts=hosts)
    if as_json:
        print_json({"page": page})
    else:
        typer.echo(f"wrote {page}")


@pictures_app.command()
def compare(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help="run that is taken as truth")],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="run of the same images")],
    output: FolderOption = None,
    allowed_hosts: HostsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print how the labels of two runs differ, and write a page of both side by side."""
    from pipelines.compare import compare_runs

    compared = compare_runs(run_a, run_b, output, allowed_hosts=tuple(allowed_hosts or ()))
    if as_json:
        print_json(compared.to_json())
    else:
        print_report(compared.to_terminal())


@pictures_app.command()
def playground(
    output: Annotated[Path, typer.Option(help="folder to write to")],
    num_images: Annotated[int, typer.Option(min=1, max=MOST, help="how many scenes")] = 200,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_INT, help="the same seed gives the same bytes")
    ] = 7,
    world: Annotated[
        str, typer.Option(help="playground, or workshop: other classes in another style")
    ] = "playground",
) -> None:
    """Generate images of toy scenes with COCO panoptic ground truth."""
    from pipelines.bars import bars
    from possam_core.playground import find_world, write_corpus

    chosen = find_world(world)
    with bars() as progress:
        task = progress.add_task("drawing", total=num_images)
        write_corpus(
            output,
            num_images=num_images,
            seed=seed,
            world=chosen,
            on_image=lambda *_: progress.advance(task),
        )
    typer.echo(f"wrote {counted(num_images, 'image')} and their ground truth to {output}")


@pictures_app.command()
def demo(
    output: Annotated[Path, typer.Option(help="folder to write to")] = Path("build/demo"),
) -> None:
    """Label a small playground corpus end to end and write a report of it."""
    from pipelines.cli.demo import run_demo

    run_demo(output)
