"""One run that the tests of this folder read; those that change it take a copy."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.run.finalise import finalise
from pipelines.run.folder import RunFolder
from tests.pipelines.damaging import rewrite

BROKEN_SCENE = 1  # of eight in shards of three: the second image of the first shard


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs the run puts it for the others."""
    return tmp_path_factory.mktemp("original") / "run"


@pytest.fixture
def run(original: Path, request: pytest.FixtureRequest) -> Path:
    """A finished run of seven labelled images and one that is none: look, but do not touch."""
    if not original.exists():
        make_run: Callable = request.getfixturevalue("make_run")
        made = make_run(8, damage={BROKEN_SCENE: b"no image"}).run
        for shard in range(3):
            rewrite(made, shard=shard, metadata={"shard": str(shard)})
        finalise(RunFolder(str(made)))
        shutil.copytree(made, original)
    return original


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of that run, free to be changed."""
    return Path(shutil.copytree(run, tmp_path / "copy"))
