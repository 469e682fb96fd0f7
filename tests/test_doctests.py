"""The examples in the docstrings of what possam_core and pipelines export."""

import doctest
from collections.abc import Callable
from pathlib import Path

import pytest

import pipelines
import possam_core
from pipelines.run.finalise import finalise
from pipelines.run.folder import RunFolder
from tests.pipelines.conftest import SmallRun, make_run

__all__ = ["make_run"]  # the fixture

NAMES = [(package, name) for package in (possam_core, pipelines) for name in package.__all__]


@pytest.fixture
def folder(make_run: Callable[..., SmallRun], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the examples run: `images/` holds five, the second damaged, and `run/` their labels."""
    small = make_run(5, damage={1: b"no image"})
    finalise(RunFolder(str(small.run)))
    small.images.rename(small.run.parent / "images")
    small.images.symlink_to(small.run.parent / "images")
    monkeypatch.chdir(small.run.parent)
    return small.run.parent


@pytest.mark.usefixtures("folder", "ray_cluster")
@pytest.mark.parametrize(("package", "name"), NAMES, ids=[name for _, name in NAMES])
def test_the_example_of_a_public_name_runs(package: object, name: str) -> None:
    docstring = getattr(package, name).__doc__
    example = doctest.DocTestParser().get_doctest(docstring, {}, name, None, None)
    assert example.examples, f"{name} has no example"
    failures: list[str] = []
    doctest.DocTestRunner().run(example, out=failures.append)
    assert not failures, "".join(failures)
