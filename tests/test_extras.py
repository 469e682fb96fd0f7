"""What `pip install possam` brings without any extra, in an environment that holds nothing else."""

import os
import subprocess
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from pipelines.run.finalise import finalise
from pipelines.run.folder import RunFolder
from possam_core.extras import EXTRA_OF, missing_extra
from tests.pipelines.conftest import SmallRun, make_run

__all__ = ["make_run"]  # the fixture

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def with_dependencies(requirements: list[str], seen: set[str]) -> Iterator[str]:
    """The names of the distributions that `requirements` bring, as they are installed here."""
    for requirement in map(Requirement, requirements):
        name = canonicalize_name(requirement.name)
        extras = requirement.extras or {""}
        marker = requirement.marker
        is_wanted = marker is None or any(marker.evaluate({"extra": e}) for e in extras)
        if is_wanted and name not in seen:
            seen.add(name)
            yield name
            needed = [r for r in distribution(name).requires or [] if "extra ==" not in r]
            yield from with_dependencies(needed, seen)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess]:
    """Runs Python in an environment of the wheel and its dependencies, at the lock's versions.

    Their files are linked from where the tests run, so nothing is downloaded.
    """
    place = tmp_path_factory.mktemp("bare")
    venv.create(place / "venv", symlinks=True)
    (site,) = (place / "venv/lib").glob("python*/site-packages")
    for name in with_dependencies(PROJECT["dependencies"], set()):
        for top in {file.parts[0] for file in distribution(name).files or []} - {".."}:
            if top != "__pycache__":
                (site / top).symlink_to(distribution(name).locate_file(top))
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(place), versions=["standard"])
    zipfile.ZipFile(wheel).extractall(site)

    def run(program: str, *arguments: object) -> subprocess.CompletedProcess:
        command = [place / "venv/bin/python", "-c", program, *map(str, arguments)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        return subprocess.run(
            command, cwd=place, capture_output=True, text=True, check=False, env=environment
        )

    return run


@pytest.fixture
def possam(bare: Callable) -> Callable[..., subprocess.CompletedProcess]:
    """Runs the command there."""
    return lambda *arguments: bare("from pipelines.cli import main; main()", *arguments)


@pytest.fixture
def run(make_run: Callable[..., SmallRun]) -> SmallRun:
    """Four labelled images and one that is none, finalised."""
    small = make_run(5, damage={1: b"no image"})
    finalise(RunFolder(str(small.run)))
    return small


def test_a_bare_install_reads_a_run_without_torch_ray_or_prefect(
    bare: Callable, run: SmallRun
) -> None:
    program = """
import importlib.util, sys
from pipelines import open_run
from pipelines.stats import run_statistics
run = open_run(sys.argv[1], where="mean_score > 0.65")
images = list(run)
print(len(images), images[0].segmentation.ids.shape, images[0].pixels().shape)
print(run_statistics(sys.argv[1]).num_images)
print([name for name in ("torch", "ray", "prefect", "s3fs") if importlib.util.find_spec(name)])
"""
    done = bare(program, run.run)
    assert done.stderr == ""
    with Image.open(run.images / "scene-00000.jpg") as first:
        width, height = first.size
    shapes = f"({height}, {width}) ({height}, {width}, 3)"
    assert done.stdout.splitlines() == [f"2 {shapes}", "5", "[]"]


def test_a_bare_install_counts_exports_and_shows_a_run(
    possam: Callable, run: SmallRun, tmp_path: Path
) -> None:
    export = ["export", run.run, "--format", "coco-panoptic", "--output", tmp_path / "coco"]
    for arguments in (
        ["status", run.run],
        ["errors", run.run],
        ["verify", run.run],
        ["stats", run.run],
        export,
        ["report", run.run],
        ["vocabulary", "list"],
    ):
        done = possam(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    assert list((tmp_path / "coco").rglob("*.json"))


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("label", "{images}", "--output", "{new}"), "label"),
        (("plan", "{images}", "--output", "{new}"), "label"),
        (("train", "config.yaml", "--output", "{new}"), "train"),
        (("doctor",), "label"),
        (("vocabulary", "lint", "playground"), "label"),
        (("stats", "s3://bucket/run"), "s3"),
    ],
)
def test_a_command_that_needs_an_extra_says_so_in_one_sentence(
    command: tuple[str, ...],
    extra: str,
    possam: Callable,
    run: SmallRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    called = " ".join(command[: 2 if command[0] == "vocabulary" else 1])
    done = possam(*(word.format(images=run.images, new=tmp_path / "new") for word in command))
    sentence = f"possam {called} needs the extra [{extra}]: pip install 'possam[{extra}]'"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"possam: {sentence}\n")
    assert not (tmp_path / "new").exists()


def test_the_extras_and_the_table_of_what_they_bring_are_the_same() -> None:
    imported = packages_distributions()
    for extra, requirements in PROJECT["optional-dependencies"].items():
        listed = {canonicalize_name(Requirement(r).name) for r in requirements} - {"possam"}
        documented = {
            canonicalize_name(imported[module][0]) for module, e in EXTRA_OF.items() if e == extra
        }
        assert documented == listed


def test_a_module_that_no_extra_brings_is_no_matter_of_extras() -> None:
    assert missing_extra("possam label", ModuleNotFoundError("gone", name="numpy.gone")) is None
    sentence = missing_extra("possam label", ModuleNotFoundError("gone", name="torch.nn"))
    assert str(sentence) == "possam label needs the extra [label]: pip install 'possam[label]'"


@pytest.mark.parametrize("name", ["possam_core.load_predictor", "pipelines.run_label", "flows"])
def test_an_import_that_needs_an_extra_says_so(name: str, bare: Callable) -> None:
    package, _, attribute = name.partition(".")
    program = f"from {package} import {attribute}" if attribute else f"import {package}"
    done = bare(program)
    extra = "prefect" if name == "flows" else "label"
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"possam_core.extras.MissingExtraError: {name} needs the extra [{extra}]:"
        f" pip install 'possam[{extra}]'"
    )
