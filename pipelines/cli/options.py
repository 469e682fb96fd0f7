"""Arguments and options that several commands share, and functions that print results."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.label.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import RenderableType

MOST = 100_000_000  # images that a command may be asked for

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="run folder, local or s3://")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="print the result as one JSON document and nothing else")
]


def print_json(result: object) -> None:
    """Print a dataclass, a dict or a list as one JSON document."""
    content = asdict(result) if is_dataclass(result) and not isinstance(result, type) else result
    typer.echo(json.dumps(content, indent=2, default=_plain))


def print_report(content: "RenderableType") -> None:
    """Print a table or text for people to read."""
    from rich.console import Console

    Console(soft_wrap=True, highlight=False).print(content)


@contextmanager
def interruptible(what_again_does: str) -> Iterator[None]:
    """On Ctrl-C, print what the same command does when run again, and exit with INTERRUPTED."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"possam: stopped; run the same command again to {what_again_does}", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
