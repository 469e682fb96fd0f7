"""Tests of pipelines.cli.overview and of the commands that it names."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module

import pytest
import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup
from typer.main import get_command

from pipelines.cli import main
from pipelines.cli.command import app
from pipelines.cli.overview import COMMANDS, print_overview
from tests.pipelines.conftest import SmallRun


def loaded_by(*arguments: object) -> set[str]:
    """Which costly packages the command has imported by its end."""
    costly = (
        "{'typer', 'pydantic', 'pyarrow', 'numpy', 'torch', 'ray', 'duckdb', 's3fs', 'prefect'}"
    )
    program = (
        f"import atexit, sys; sys.argv = ['possam', *{[str(a) for a in arguments]}];"
        f" atexit.register(lambda: print(*({costly} & sys.modules.keys()), file=sys.stderr));"
        " from pipelines.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def styled(page: str) -> list[tuple[str, str]]:
    """The visible characters of a page and how each of them looks."""
    console, text = Console(), Text.from_ansi(page)
    return [
        (character, str(text.get_style_at_offset(console, i)))
        for i, character in enumerate(text.plain)
        if not character.isspace()
    ]


@pytest.mark.parametrize("width", ["40", "80", "200"])
@pytest.mark.parametrize("is_terminal", [False, True])
def test_the_page_is_the_one_that_typer_would_draw(
    width: str,
    is_terminal: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setattr(sys, "argv", ["possam"])
    if is_terminal:
        monkeypatch.setattr("typer.rich_utils.FORCE_TERMINAL", True)
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
    print_overview()
    ours = capsys.readouterr().out
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    context = group.make_context("possam", ["status"])
    TyperGroup.format_help(group, context, context.make_formatter())
    typers = capsys.readouterr().out
    assert styled(ours) == styled(typers)


def test_each_summary_is_the_first_sentence_of_the_commands_own_help() -> None:
    for name, entry in COMMANDS.items():
        command = get_command(app).get_command(None, name)  # type: ignore[attr-defined]
        first = inspect.cleandoc(command.help).partition("\n\n")[0]
        assert entry.summary == first.replace("\n", " "), name


def test_every_command_that_a_module_defines_is_on_the_page() -> None:
    for place in {entry.app for entry in COMMANDS.values()}:
        module, _, name = place.partition(":")
        commands: typer.Typer = getattr(import_module(f"pipelines.cli.{module}"), name)
        if commands.info.help and isinstance(commands.info.help, str):
            continue  # a group, which has a page of its own
        for info in commands.registered_commands:
            assert info.callback is not None
            assert COMMANDS[info.name or info.callback.__name__].app == place


def test_an_unknown_command_gets_the_nearest_as_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["possam", "exprot"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "No such command 'exprot'. Did you mean 'export'" in capsys.readouterr().err


def test_help_imports_no_typer_and_status_neither_arrays_nor_tables(
    make_run: Callable[..., SmallRun],
) -> None:
    assert loaded_by("--help") == set()
    assert loaded_by("status", make_run().run) == {"typer", "pydantic"}
