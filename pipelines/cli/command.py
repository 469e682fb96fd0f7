"""The command as a whole: its groups, its version, and how a user's mistake is told."""

import os
import sys
from typing import Annotated

import typer

from pipelines.cli.assets import config_app, vocabulary_app, weights_app
from pipelines.cli.calibration import calibration_app
from pipelines.cli.care import care_app
from pipelines.cli.corrections import corrections_app
from pipelines.cli.evaluation import evaluation_app
from pipelines.cli.export import export_app
from pipelines.cli.labelling import labelling_app
from pipelines.cli.options import BAD_INPUT
from pipelines.cli.pictures import pictures_app
from pipelines.cli.stats import stats_app
from pipelines.cli.termination import take_sigterm
from pipelines.cli.training import training_app
from pipelines.redaction import without_secrets
from possam_core.errors import PossamError

app = typer.Typer(
    help="Open-vocabulary panoptic labels for images by the million.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for commands in (
    labelling_app,
    care_app,
    pictures_app,
    evaluation_app,
    calibration_app,
    stats_app,
    export_app,
    corrections_app,
    training_app,
):
    app.add_typer(commands)
app.add_typer(weights_app, name="weights")
app.add_typer(vocabulary_app, name="vocabulary")
app.add_typer(config_app, name="config")


def main() -> None:
    """Run the command; a mistake of the caller's is one line on stderr and exit code 2."""
    take_sigterm()
    _draw_bars_on_terminals_alone()
    try:
        app()
    except PossamError as error:
        message = without_secrets(" ".join(str(error).split()))
        typer.echo(f"possam: {message}", err=True)
        sys.exit(BAD_INPUT)


def _draw_bars_on_terminals_alone() -> None:
    """Jupyter and many a CI set FORCE_COLOR, which rich takes for a terminal: bars line by line."""
    if not (sys.stdout.isatty() or sys.stderr.isatty()):
        os.environ.setdefault("TTY_COMPATIBLE", "0")


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
