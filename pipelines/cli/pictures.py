"""preview, evaluate, playground and demo: what shows how good labels are."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import RunArgument

pictures_app = typer.Typer()


@pictures_app.command()
def preview(
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option(help="HTML file  [default: inside the run folder]")
    ] = None,
) -> None:
    """Write one self-contained page of overlays, worst images first."""
    from pipelines.preview import write_preview

    typer.echo(f"wrote {write_preview(run, output)}")


@pictures_app.command()
def evaluate(
    run: RunArgument,
    ground_truth: Annotated[Path, typer.Option(help="JSON in COCO panoptic format")],
) -> None:
    """Print PQ, SQ and RQ of a run against ground truth."""
    from rich.console import Console

    from pipelines.evaluate import evaluate_run

    Console().print(evaluate_run(run, ground_truth).to_table())


@pictures_app.command()
def playground(
    output: Annotated[Path, typer.Option(help="folder to write to")],
    num_images: Annotated[int, typer.Option(min=1, help="how many scenes")] = 200,
    seed: Annotated[int, typer.Option(help="the same seed gives the same bytes")] = 7,
) -> None:
    """Generate images of toy scenes with COCO panoptic ground truth."""
    from rich.progress import Progress

    from possam_core.playground import write_corpus

    with Progress(transient=True) as progress:
        task = progress.add_task("drawing", total=num_images)
        write_corpus(
            output,
            num_images=num_images,
            seed=seed,
            on_image=lambda *_: progress.advance(task),
        )
    typer.echo(f"wrote {num_images:,} images and their ground truth to {output}")


@pictures_app.command()
def demo(
    output: Annotated[Path, typer.Option(help="folder to write to")] = Path("build/demo"),
) -> None:
    """Label a small playground corpus end to end and write a page of overlays."""
    from pipelines.demo import run_demo

    run_demo(output)
