"""The commands weights, vocabulary and config: what a run needs before it starts."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import JsonOption, print_json
from pipelines.label.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.progress import Progress

weights_app = typer.Typer(help="Published weights: encoders, and FC-CLIP.", no_args_is_help=True)

WeightsNames = Annotated[list[str], typer.Argument(metavar="NAME...", help="as `list` names them")]
FetchNames = Annotated[
    list[str],
    typer.Argument(metavar="NAME...", help="as `list` names them, or s3:// or hf:// checkpoints"),
]
HeadOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL|FILE", help="for fc-clip: its head", show_default="where it is published"
    ),
]
ClipOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL|FILE", help="for fc-clip: its tower", show_default="the published one"
    ),
]


@weights_app.command("list")
def list_weights(as_json: JsonOption = False) -> None:
    """Print what each model needs, where it is published, and where it was found."""
    from pipelines.cli.weights import describe_weights, weights_records

    if as_json:
        print_json(weights_records())
    else:
        typer.echo(describe_weights())


@weights_app.command("fetch")
def fetch(names: FetchNames, head: HeadOption = None, clip: ClipOption = None) -> None:
    """Download published weights and check their sha256, or a checkpoint from s3:// or hf://.

    For fc-clip, also write its model file, which pins the sha256 of both files.
    """
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    from pipelines.bars import bars
    from possam_core.checkpoints.fc_clip_file import FC_CLIP
    from possam_core.errors import ConfigError

    if (head or clip) and names != [FC_CLIP]:
        raise ConfigError(
            f"expected --head and --clip with {FC_CLIP} alone, got {', '.join(names)}; leave them"
            " out"
        )
    for name in names:
        columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
        with bars(*columns) as progress:
            file = _fetch(name, progress, head=head, clip=clip)
        typer.echo(f"{name} is at {file}")


def _fetch(name: str, progress: "Progress", *, head: str | None, clip: str | None) -> Path:
    from functools import partial

    from pipelines.cli.fc_clip_weights import fetch_fc_clip
    from pipelines.cli.weights import fetch_checkpoint, fetch_weights, find_weights
    from possam_core.checkpoints.fc_clip_file import FC_CLIP
    from possam_core.checkpoints.models import REMOTE_SCHEMES

    is_published = name != FC_CLIP and not name.startswith(REMOTE_SCHEMES)
    weights = find_weights(name) if is_published else None
    task = progress.add_task(name, total=weights.size_bytes if weights else None)
    advance = partial(progress.advance, task)
    if name == FC_CLIP:
        return fetch_fc_clip(head, clip, advance)
    return fetch_weights(weights, advance) if weights else fetch_checkpoint(name, advance)


@weights_app.command("verify")
def verify(names: WeightsNames) -> None:
    """Check fetched weights against their published sha256, or that which was pinned."""
    from pipelines.cli.fc_clip_weights import verify_fc_clip
    from pipelines.cli.weights import find_weights, verify_weights
    from possam_core.checkpoints.fc_clip_file import FC_CLIP

    for name in names:
        file = verify_fc_clip() if name == FC_CLIP else verify_weights(find_weights(name))
        typer.echo(f"{name} is sound: {file}")


@weights_app.command("pin")
def pin(model_file: Annotated[Path, typer.Argument(metavar="FILE", help="of FC-CLIP")]) -> None:
    """Write the sha256 of its files into a model file; other files are refused from then on."""
    from pipelines.cli.fc_clip_weights import pin_files

    for part, sha256 in pin_files(model_file).items():
        typer.echo(f"{part}_sha256: {sha256}")


vocabulary_app = typer.Typer(help="Vocabularies: built in, and your own.", no_args_is_help=True)

VocabularyArgument = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="built-in name or YAML file")
]


@vocabulary_app.command("list")
def list_builtin_vocabularies(as_json: JsonOption = False) -> None:
    """Print the built-in vocabularies."""
    from rich.console import Console

    from pipelines.cli.vocabulary import list_vocabularies, vocabulary_sizes

    if as_json:
        print_json([asdict(size) for size in vocabulary_sizes()])
    else:
        Console().print(list_vocabularies())


@vocabulary_app.command("show")
def show(vocabulary: VocabularyArgument, as_json: JsonOption = False) -> None:
    """Print the classes of a vocabulary."""
    from rich.console import Console

    from pipelines.cli.vocabulary import show_vocabulary
    from possam_core.vocabulary.builtin import find_vocabulary

    if as_json:
        found = find_vocabulary(vocabulary)
        print_json({"name": found.name, "classes": found.to_records()})
    else:
        Console().print(show_vocabulary(vocabulary))


@vocabulary_app.command("lint")
def lint(
    vocabulary: VocabularyArgument,
    model: Annotated[
        str | None, typer.Option(help="checkpoint; also find near-duplicates with its CLIP")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what to fix in a vocabulary; exit with 2 if there are errors."""
    from pipelines.cli.vocabulary import lint as lint_one

    report = lint_one(vocabulary, model=model)
    if as_json:
        print_json(report)
    else:
        typer.echo(report.to_text())
    if report.has_errors:
        raise typer.Exit(ExitCode.BAD_INPUT)


config_app = typer.Typer(help="The configuration file.", no_args_is_help=True)


@config_app.callback()
def _config() -> None:
    pass


@config_app.command("schema")
def schema(
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB",
            help="label, train, evaluate, calibrate or export",
            show_default="all, by name",
        ),
    ] = None,
) -> None:
    """Print the JSON schema of a job's settings: names, descriptions, bounds and defaults."""
    from pipelines.cli.jobs import JOBS, settings_class
    from pipelines.settings.json_schema import config_schema

    if job is None:
        print_json({name: config_schema(settings_class(name)) for name in JOBS})
    else:
        print_json(config_schema(settings_class(job)))
