"""Where the `possam` command starts, and how a user's mistake is reported."""

import gc
import os
import sys

from pipelines.cli.overview import print_overview
from pipelines.cli.termination import take_sigterm
from pipelines.redaction import without_secrets
from possam_core.errors import PossamError

BAD_INPUT = 2  # exit code of a mistake of the caller's


def main() -> None:
    """Run the command; a mistake of the caller's is one line on stderr and exit code 2."""
    take_sigterm()
    _draw_bars_on_terminals_alone()
    if sys.argv[1:] == ["--help"]:
        print_overview()
        print()  # noqa: T201  # as after every other page of help
        sys.exit(0)
    from pipelines.cli.command import app  # imports typer, which the overview does without

    gc.freeze()  # all of it stays: 20 ms less of looking for garbage

    try:
        app()
    except PossamError as error:
        message = without_secrets(" ".join(str(error).split()))
        print(f"possam: {message}", file=sys.stderr)  # noqa: T201
        sys.exit(BAD_INPUT)


def _draw_bars_on_terminals_alone() -> None:
    """Jupyter and many a CI set FORCE_COLOR, which rich takes for a terminal: bars line by line."""
    if not (sys.stdout.isatty() or sys.stderr.isatty()):
        os.environ.setdefault("TTY_COMPATIBLE", "0")
