"""The documentation claims what was measured, and names what exists."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.label.exit_codes import ExitCode
from possam_core.checkpoints.weights import load_model

ROOT = Path(__file__).resolve().parents[1]
WRITTEN = ("*.py", "*.md", "*.js", "*.ts", "*.yaml", "*.yml", "*.toml", "*.ipynb")
OURS = (
    "possam_core",
    "pipelines",
    "flows",
    "tests",
    "benchmarks",
    "docs",
    "infra",
    "configs",
    "notebooks",
)


@pytest.mark.parametrize("document", ["README.md", "docs/results.md"])
def test_the_table_of_possam_tiny_is_the_one_in_its_checkpoint(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for name, quality in load_model("possam-tiny").card.metrics["quality"].items():
        scores = [f"{100 * quality[score]:.1f}" for score in ("pq", "sq", "rq")]
        assert f"| {name} | {' | '.join(scores)} |" in text


def test_the_page_of_settings_and_the_example_are_made_from_the_classes() -> None:
    spec = importlib.util.spec_from_file_location("make_settings", ROOT / "docs/make_settings.py")
    assert spec
    assert spec.loader
    make_settings = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_settings)
    for file, content in (
        (make_settings.PAGE, make_settings.page()),
        (make_settings.EXAMPLE, make_settings.example()),
    ):
        assert file.read_text(encoding="utf-8") == content, "run python docs/make_settings.py"


def test_the_table_of_exit_codes_is_the_one_in_the_module() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    _, _, section = text.partition("## Exit codes\n")
    rows = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    assert rows[1:] == [f"| {code.value} | {code.meaning} |" for code in ExitCode]


def test_every_file_that_a_document_links_to_exists() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in document.read_text(encoding="utf-8").split("](")[1:]:
            target = link.partition(")")[0]
            if not target.startswith("https://"):
                assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_section_of_the_method_that_code_cites_is_there() -> None:
    method = (ROOT / "docs/method.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^##+ ([0-9.]*[0-9])", method, flags=re.MULTILINE))
    for path, text in written_files():
        for cited in re.findall(r"docs/method\.md ((?:[0-9.]*[0-9](?:, | and )?)+)", text):
            numbers = re.findall(r"[0-9.]*[0-9]", cited)
            assert set(numbers) <= sections, f"{path} cites docs/method.md {cited}"


def test_no_file_cites_a_page_that_is_not_in_the_repository() -> None:
    elsewhere = re.compile(r"\b(METHOD|DESIGN|FACTS|LAYOUT|STYLE)(\.md\b| [0-9])")
    for path, text in written_files():
        found = elsewhere.search(text)
        assert not found, f"{path} cites {found and found[0]}"


def test_every_page_of_the_documentation_that_a_file_names_exists() -> None:
    for path, text in written_files():
        for page in re.findall(r"\bdocs/[a-z_]+\.md\b", text):
            assert (ROOT / page).is_file(), f"{path} names {page}"


def test_the_architecture_has_a_line_for_each_folder_of_the_packages() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z_/]+)/` \| .+ \|$", page, flags=re.MULTILINE)
    assert len(listed) == len(set(listed))
    top = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    packages = ("possam_core", "pipelines", "flows")
    inside = {f"{name}/{folder}" for name in packages for folder in folders_of(ROOT / name)}
    assert set(listed) == (top - ignored_names()) | inside


def test_every_path_and_name_in_the_architecture_exists() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    roots = "|".join((*OURS, "tests"))
    named = re.findall(rf"`((?:{roots})/[\w./]*)(?:::(\w+))?`", page)
    assert len(named) > 50
    for path, name in named:
        assert (ROOT / path).exists(), f"docs/architecture.md names {path}"
        if name:
            text = (ROOT / path).read_text(encoding="utf-8")
            defined = re.search(rf"^(class |def |){name}\b", text, flags=re.MULTILINE)
            assert defined, f"docs/architecture.md names {name} in {path}"


def ignored_names() -> set[str]:
    """Folders that git leaves alone."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    return {line.strip("/") for line in lines}


def folders_of(package: Path) -> Iterator[str]:
    """Folders below a package that hold files of ours, not Python's cache alone."""
    files = [path.relative_to(package) for path in package.rglob("*") if path.is_file()]
    held = {file.parent for file in files if "__pycache__" not in file.parts}
    yield from sorted(folder.as_posix() for folder in held if folder.name)


def written_files() -> Iterator[tuple[Path, str]]:
    """Each file of ours that people read, relative to the root, and its text."""
    places = [path for folder in OURS for kind in WRITTEN for path in (ROOT / folder).rglob(kind)]
    for path in [*ROOT.glob("*.md"), *places]:
        if path != Path(__file__).resolve():
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
