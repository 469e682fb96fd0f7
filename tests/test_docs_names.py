"""What the pages call by name exists: files, Python names, commands and their options."""

import importlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from pipelines.cli.command import app

ROOT = Path(__file__).resolve().parents[1]
# Not the changelog, which names what was, too.
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "notebooks").glob("*.ipynb"),
]
FOLDERS = ("possam_core", "pipelines", "flows", "tests", "benchmarks", "docs", "infra", "configs")
PACKAGES = ("possam_core", "pipelines", "flows", "benchmarks", "tests")
FILE = re.compile(
    r"([\w.*/-]+\.(?:py|ipynb|md|toml|lock|ya?ml|json|js|html|parquet|csv))(?:::(\w+))?"
)
NAME = re.compile(rf"(?<![\w./@:-])(?:{'|'.join(PACKAGES)})(?:\.\w+)+(?![\w/])")
IMPORT = re.compile(rf"^from ((?:{'|'.join(PACKAGES)})[\w.]*) import (\([^)]*\)|.*)$", re.MULTILINE)
COMMAND = re.compile(r"(?<![\w./-])possam ([a-z][a-z-]*)(?![\w./:])([^|;&#]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@each_page
def test_every_file_named_in_backticks_is_ours_or_written_by_our_code(page: Path) -> None:
    text = text_of(page)
    its_own = "\n".join([*blocks(text), *(s for s in spans(text) if " " in s)])  # of a reader's
    matches = filter(None, map(FILE.fullmatch, spans(text)))
    unknown = [m[0] for m in matches if not (exists(m[1], m[2]) or m[0] in its_own)]
    assert unknown == []


@each_page
def test_every_dotted_name_can_be_imported(page: Path) -> None:
    text = text_of(page)
    names = set(NAME.findall(text))
    for module, imported in IMPORT.findall(text):
        parts = (part.split(" as ")[0].split("#")[0].strip() for part in imported.split(","))
        names |= {f"{module}.{part.strip('() ')}" for part in parts if part.strip("() ")}
    assert [name for name in sorted(names) if not resolves(name)] == []


@each_page
def test_every_command_and_each_of_its_options_exists(page: Path) -> None:
    calls = [call for line in code_of(text_of(page)) for call in COMMAND.findall(line)]
    wrong = []
    for name, rest in calls:
        command = command_of(name, rest.split())
        if command is None or set(OPTION.findall(rest)) - options_of(command):
            wrong.append(f"possam {name}{rest}")
    assert wrong == []


def text_of(page: Path) -> str:
    """The text of a page, or of all cells of a notebook."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join(
        f"```\n{source}\n```" if cell["cell_type"] == "code" else source
        for cell in cells
        for source in ["".join(cell["source"])]
    )


def blocks(text: str) -> list[str]:
    """What stands between fences."""
    return re.findall(r"^ *```.*?\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """What stands in backticks, outside fences."""
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def code_of(text: str) -> Iterator[str]:
    """Each span, and each line of a block with those that it goes on in."""
    yield from spans(text)
    for block in blocks(text):
        yield from block.replace("\\\n", " ").splitlines()


@cache
def our_files() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    found += [path for path in ROOT.iterdir() if path.is_file()]
    return [path.relative_to(ROOT) for path in found if "__pycache__" not in path.parts]


@cache
def our_code() -> str:
    """The text of the packages, in which stand the names of the files that they write."""
    code = [ROOT / path for path in our_files() if path.parts[0] in PACKAGES[:3]]
    return "\n".join(path.read_text("utf-8") for path in code if path.suffix == ".py")


def exists(file: str, name: str | None) -> bool:
    """Whether a file of ours has this path or ends in it, or the packages write one like it."""
    wanted = Path(file).parts
    ours = [path for path in our_files() if path.parts[-len(wanted) :] == wanted]
    if name is not None:
        pattern = rf"^(class |def |    def |){name}\b"
        return any(re.search(pattern, (ROOT / p).read_text("utf-8"), re.MULTILINE) for p in ours)
    stem, ending = wanted[-1].rsplit(".", 1)
    if ending in ("py", "ipynb", "md", "toml", "js"):
        return bool(ours) or wanted[-1] in our_code()
    pieces = [piece for piece in stem.split("*") if piece]
    return bool(ours) or all(piece in our_code() for piece in [*pieces, f".{ending}"])


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


def command_of(name: str, words: list[str]) -> Any:
    """The command of this name, or of these words in a group of commands; None: there is none."""
    group: Any = get_command(app)
    command = group.get_command(None, name)
    if hasattr(command, "commands") and words and not words[0].startswith("-"):
        return command.commands.get(words[0])
    return command


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts} | {"--help"}
