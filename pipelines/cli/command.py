"""The typer app, which imports the module of a command only when that command is called."""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from pipelines.cli.overview import ABOUT, COMMANDS, print_overview


class LazyGroup(TyperGroup):
    """The commands of the overview, each imported when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: dict[str, Any] = dict.fromkeys(COMMANDS)  # the names, to suggest them

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, app_name = COMMANDS[cmd_name].app.partition(":")
        group = get_group(getattr(import_module(f"pipelines.cli.{module}"), app_name))
        group.name = cmd_name  # for a command that is itself a group, such as `weights`
        for command in group.commands.values():
            _show_switches_without_a_type(command, ctx)
        return group.commands.get(cmd_name, group)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the overview."""
        print_overview()


def _show_switches_without_a_type(command: Any, ctx: Any) -> None:
    """Let `--help` print `--json`, not `--json <bool>`, which would ask for a word."""
    of_typer = [] if ctx is None else [command.get_help_option(ctx)]
    for parameter in (*command.params, *of_typer):
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""


app = typer.Typer(
    cls=LazyGroup,
    help=ABOUT,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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
