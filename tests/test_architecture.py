"""What pyproject.toml promises about the three packages, and rules of their code."""

import ast
import importlib
import statistics
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("possam_core", "pipelines", "flows")


def sources() -> list[Path]:
    """Every module of the three packages."""
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_imported_package_is_ours(package: str) -> None:
    origin = importlib.import_module(package).__file__
    assert origin is not None
    assert Path(origin).resolve() == ROOT / package / "__init__.py"


def test_the_wheel_ships_all_three_packages_and_the_command(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name.partition("/")[0] for name in names}
    assert set(PACKAGES) <= shipped
    for package in PACKAGES:
        ours = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert ours == {name for name in names if name.startswith(f"{package}/")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"possam": "pipelines.cli:main"}


def test_whatever_a_context_manager_does_after_its_yield_it_does_after_errors_too() -> None:
    careless = []
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any(
                ast.unparse(decorator) == "contextmanager" for decorator in node.decorator_list
            ):
                lines = unprotected_yields(node.body)
                careless += [f"{path.relative_to(ROOT)}:{line}" for line in lines]
    assert careless == []


def unprotected_yields(body: Sequence[ast.stmt]) -> Iterator[int]:
    """Lines of yields with something after them that an error would skip."""
    for statement, after in pairwise([*body, None]):
        assert statement is not None
        is_yield = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield)
        if is_yield and not isinstance(after, ast.Return | None):
            yield statement.lineno
        if not (isinstance(statement, ast.Try) and statement.finalbody):
            for name in ("body", "orelse", "finalbody"):
                yield from unprotected_yields(getattr(statement, name, []))


def test_no_two_public_classes_share_a_name() -> None:
    owners: dict[str, list[str]] = {}
    for path in sources():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                owners.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert len(owners) > 200
    assert {name: paths for name, paths in owners.items() if len(paths) > 1} == {}


def test_no_module_shares_its_name_with_a_folder_beside_it() -> None:
    assert [path for path in sources() if path.with_suffix("").is_dir()] == []


def test_pipelines_has_26_rooms_at_most_and_four_loose_modules() -> None:
    folder = ROOT / "pipelines"
    rooms = [p for p in folder.iterdir() if p.is_dir() and (p / "__init__.py").exists()]
    loose = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert loose == {"bars", "ray_cluster", "redaction", "schema"}
    assert len(rooms) + len(loose) <= 26


def test_modules_are_small() -> None:
    lengths = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in sources())
    assert lengths[-1] <= 300
    assert statistics.median(lengths) <= 110
