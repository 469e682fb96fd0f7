"""A local run folder on a disk that fills up."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.run.folder import SHARD_KEY
from tests.chaos.runs import Reference, elsewhere, label, require_sound


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 192 KiB; mounting one takes root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192k", "chaos", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_on_a_full_disk_no_file_is_partial_and_the_run_resumes_once_there_is_space(
    hundreds: Reference, small_disk: Path
) -> None:
    run = small_disk / "run"
    config = elsewhere(hundreds, str(run))
    report = label(config)
    assert report.manifest is None
    assert any("No space left" in problem for problem in report.open_shards.values())
    files = [path for path in (run / "data").rglob("*") if path.is_file()]
    assert 0 < len(files) < hundreds.num_shards
    for file in files:
        assert SHARD_KEY.fullmatch(str(file.relative_to(run)))
        assert pq.read_metadata(file).num_rows == config.shard_size

    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    assert label(config).manifest is not None
    require_sound(str(run), hundreds)
