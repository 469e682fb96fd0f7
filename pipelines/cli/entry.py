"""The entry point of the `possam` command, which reports a user's mistake in one line."""

import gc
import os
import sys
from typing import NoReturn

from pipelines.cli.overview import GROUPS, print_overview
from pipelines.cli.termination import take_sigterm
from pipelines.label.exit_codes import ExitCode
from pipelines.redaction import without_secrets
from possam_core.errors import PossamError
from possam_core.extras import missing_extra


def main() -> None:
    """Run the command; a user's mistake is one line on stderr and exit code 2."""
    take_sigterm()
    _draw_bars_only_on_terminals()
    if sys.argv[1:] == ["--help"]:
        print_overview()
        print()  # noqa: T201  # as after every other page of help
        sys.exit(0)
    from pipelines.cli.command import app  # imports typer, which the overview does not need

    gc.freeze()  # all of it lives until the end; collecting no garbage there saves 20 ms

    try:
        app()
    except PossamError as error:
        _refuse(str(error))
    except ModuleNotFoundError as error:
        if missing := missing_extra(f"possam {_command()}", error):
            _refuse(str(missing))
        raise


def _command() -> str:
    """The command that was called; of a group, its subcommand, too."""
    is_of_group = sys.argv[1:2] and sys.argv[1] in GROUPS
    return " ".join(sys.argv[1 : 3 if is_of_group else 2])


def _refuse(message: str) -> NoReturn:
    print("possam:", without_secrets(" ".join(message.split())), file=sys.stderr)  # noqa: T201
    sys.exit(ExitCode.BAD_INPUT)


def _draw_bars_only_on_terminals() -> None:
    """Jupyter and many CIs set FORCE_COLOR, which makes rich print bars line by line."""
    if not (sys.stdout.isatty() or sys.stderr.isatty()):
        os.environ.setdefault("TTY_COMPATIBLE", "0")
