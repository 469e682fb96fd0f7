"""Files at the root for other people and programs: issue forms, locks, checks of JavaScript."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("pipelines/report/static", "pipelines/evaluate/static")
INPUTS = {"textarea", "input"}  # kinds of fields that our forms use


def read_form(name: str) -> dict[str, Any]:
    path = ROOT / ".github/ISSUE_TEMPLATE" / name
    form: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return form


@pytest.mark.parametrize("name", ["bug.yml", "feature.yml"])
def test_an_issue_form_has_what_github_requires(name: str) -> None:
    form = read_form(name)
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    for field in form["body"]:
        assert field["type"] in INPUTS
        assert field["attributes"]["label"]
        assert isinstance(field["validations"]["required"], bool)


def test_the_form_for_bugs_asks_for_what_finding_them_takes() -> None:
    fields = {field["id"]: field for field in read_form("bug.yml")["body"]}
    required = {name for name, field in fields.items() if field["validations"]["required"]}
    assert required == {"what", "command", "version", "doctor"}
    assert "possam doctor" in fields["doctor"]["attributes"]["label"]
    assert "_plan/plan.json" in fields["plan"]["attributes"]["label"]


def test_the_locks_name_no_registry() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    installed = {name: package for name, package in packages.items() if name}
    assert {"node_modules/@biomejs/biome", "node_modules/typescript"} <= set(installed)
    for name, package in installed.items():
        assert "resolved" not in package, name
        assert package["integrity"].startswith("sha512-"), name
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_every_script_of_a_page_is_checked_by_tsc() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    scripts = {
        path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("pipelines/*/static/*.js")
    }
    assert scripts == set(PAGES)
    for page in PAGES:
        assert page in makefile
        settings = json.loads((ROOT / page / "tsconfig.json").read_text(encoding="utf-8"))
        assert settings["compilerOptions"]["strict"] is True
        assert settings["compilerOptions"]["checkJs"] is True


@pytest.mark.parametrize("page", PAGES)
def test_every_element_that_the_types_know_is_on_the_page(page: str) -> None:
    (types,) = [
        text
        for path in (ROOT / page).glob("*.d.ts")
        if "interface Elements" in (text := path.read_text(encoding="utf-8"))
    ]
    elements = types.partition("interface Elements {")[2].partition("}")[0]
    typed = set(re.findall(r"^  \"?([a-z-]+)\"?: HTML", elements, flags=re.MULTILINE))
    html = (ROOT / page / "index.html").read_text(encoding="utf-8")
    assert typed <= set(re.findall(r'id="([a-z-]+)"', html))


def test_checking_javascript_without_npm_says_what_to_install(tmp_path: Path) -> None:
    make = shutil.which("make")
    assert make is not None
    for name in ("package.json", "package-lock.json", ".npmrc", "Makefile"):
        shutil.copy(ROOT / name, tmp_path / name)
    found = subprocess.run(
        [make, "node_modules/.installed", "NPM="], cwd=tmp_path, capture_output=True, text=True
    )
    assert found.returncode == 2
    assert "expected npm (Node.js 20 or newer)" in found.stderr


def test_every_place_that_make_quick_leaves_out_exists() -> None:
    conftest = (ROOT / "tests/conftest.py").read_text(encoding="utf-8")
    places = re.findall(r'"(tests/[^"]+)",', conftest)
    assert places
    assert all((ROOT / place).exists() for place in places)


def test_the_classifiers_name_no_python_that_is_not_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = [
        classifier.rpartition(" :: ")[2]
        for classifier in project["classifiers"]
        if classifier.startswith("Programming Language :: Python :: 3.")
    ]
    assert versions
    assert project["requires-python"] == f">={versions[0]}"
    assert "Operating System :: POSIX :: Linux" in project["classifiers"]
