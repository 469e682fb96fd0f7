"""Arguments and options that several commands share."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

BAD_INPUT = 2  # exit code of a mistake of the caller's

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="run folder, local or s3://")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]


def print_report(content: "RenderableType | dict[str, Any]") -> None:
    """Print a dict as JSON and anything else for people to read."""
    if isinstance(content, dict):
        typer.echo(json.dumps(content, indent=2))
        return
    from rich.console import Console

    Console(soft_wrap=True, highlight=False).print(content)
