"""The `possam` command: parses, calls, prints. What a command needs is imported inside it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from possam_core.errors import PossamError

BAD_INPUT = 2
SHARDS_OPEN = 1
INTERRUPTED = 130
TERMINATED = 143

app = typer.Typer(
    help="Open-vocabulary panoptic labels for images by the million.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="run folder, local or s3://")]


def main() -> None:
    """Run the command; a mistake of the caller's is one line on stderr and exit code 2."""
    try:
        app()
    except PossamError as error:
        typer.echo(f"possam: {' '.join(str(error).split())}", err=True)
        sys.exit(BAD_INPUT)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"possam {version('possam')}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    pass


@app.command()
def label(
    images: Annotated[str, typer.Argument(help="folder, glob or s3:// prefix of images")],
    output: Annotated[str, typer.Option(metavar="RUN", help="run folder, local or s3://")],
    model: Annotated[str, typer.Option(help="bundled name or path of a checkpoint")] = (
        "possam-tiny"
    ),
    vocabulary: Annotated[
        str | None,
        typer.Option(help="built-in name or YAML file  [default: the model's own]"),
    ] = None,
    num_workers: Annotated[
        int | None, typer.Option(help="models at work at once  [default: CPUs - 1]")
    ] = None,
    shard_size: Annotated[int, typer.Option(help="images in one file")] = 1024,
) -> None:
    """Label images; the same command again does only what is left."""
    from rich.console import Console

    from pipelines.label import LabelConfig
    from pipelines.runner import run_label
    from pipelines.summary import summarise

    config = LabelConfig(
        images=images,
        output=output,
        model=model,
        vocabulary=vocabulary,
        num_workers=num_workers,
        shard_size=shard_size,
    )
    try:
        report = run_label(config)
    except KeyboardInterrupt:
        typer.echo("possam: stopped; run the same command again to label what is left", err=True)
        raise typer.Exit(INTERRUPTED) from None
    is_complete = report.manifest is not None
    Console(stderr=not is_complete, soft_wrap=True, highlight=False).print(summarise(report))
    if not is_complete:
        raise typer.Exit(TERMINATED if report.is_stopped else SHARDS_OPEN)


@app.command()
def preview(
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option(help="HTML file  [default: inside the run folder]")
    ] = None,
) -> None:
    """Write one self-contained page of overlays, worst images first."""
    from pipelines.preview import write_preview

    typer.echo(f"wrote {write_preview(run, output)}")


@app.command()
def evaluate(
    run: RunArgument,
    ground_truth: Annotated[Path, typer.Option(help="JSON in COCO panoptic format")],
) -> None:
    """Print PQ, SQ and RQ of a run against ground truth."""
    from rich.console import Console

    from pipelines.evaluate import evaluate_run

    Console().print(evaluate_run(run, ground_truth).to_table())


@app.command()
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


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="folder to write to")] = Path("build/demo"),
) -> None:
    """Label a small playground corpus end to end and write a page of overlays."""
    from pipelines.demo import run_demo

    run_demo(output)


weights_app = typer.Typer(help="Published weights of the frozen encoders.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")

WeightsNames = Annotated[list[str], typer.Argument(metavar="NAME...", help="as `list` names them")]
FetchNames = Annotated[
    list[str],
    typer.Argument(metavar="NAME...", help="as `list` names them, or s3:// or hf:// checkpoints"),
]


@weights_app.command("list")
def list_weights() -> None:
    """Print what each model needs, where it is published, and where it was found."""
    from pipelines.weights import describe_weights

    typer.echo(describe_weights())


@weights_app.command("fetch")
def fetch(names: FetchNames) -> None:
    """Download published weights and check their sha256, or a checkpoint from afar."""
    from functools import partial

    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    from pipelines.weights import fetch_checkpoint, fetch_weights, find_weights
    from possam_core.checkpoint import REMOTE_SCHEMES

    for name in names:
        columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, transient=True) as progress:
            weights = None if name.startswith(REMOTE_SCHEMES) else find_weights(name)
            task = progress.add_task(name, total=weights.size_bytes if weights else None)
            advance = partial(progress.advance, task)
            file = fetch_weights(weights, advance) if weights else fetch_checkpoint(name, advance)
        typer.echo(f"{name} is at {file}")


@weights_app.command("verify")
def verify(names: WeightsNames) -> None:
    """Check fetched weights against their published sha256."""
    from pipelines.weights import find_weights, verify_weights

    for weights in [find_weights(name) for name in names]:
        typer.echo(f"{weights.name} is sound: {verify_weights(weights)}")


vocabulary_app = typer.Typer(help="Vocabularies: built in, and your own.", no_args_is_help=True)
app.add_typer(vocabulary_app, name="vocabulary")

VocabularyArgument = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="built-in name or YAML file")
]


@vocabulary_app.command("list")
def list_builtin_vocabularies() -> None:
    """Print the built-in vocabularies."""
    from rich.console import Console

    from pipelines.vocabulary import list_vocabularies

    Console().print(list_vocabularies())


@vocabulary_app.command("show")
def show(vocabulary: VocabularyArgument) -> None:
    """Print the classes of a vocabulary."""
    from rich.console import Console

    from pipelines.vocabulary import show_vocabulary

    Console().print(show_vocabulary(vocabulary))


@vocabulary_app.command("lint")
def lint(
    vocabulary: VocabularyArgument,
    model: Annotated[
        str | None, typer.Option(help="checkpoint; seek near-duplicates by its CLIP, too")
    ] = None,
) -> None:
    """Print what to mend in a vocabulary; exit with 2 if there are errors."""
    from pipelines.vocabulary import lint as lint_one

    report = lint_one(vocabulary, model=model)
    typer.echo(report.to_text())
    if report.has_errors:
        raise typer.Exit(BAD_INPUT)
