from pathlib import Path

import fsspec
import pytest

from pipelines.run.folder import RunFolder, shard_key
from pipelines.storage import folder
from possam_core.errors import ConfigError


@pytest.fixture(params=["local", "s3"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    """An empty run folder, on disk and in a bucket."""
    if request.param == "local":
        return RunFolder(str(tmp_path / "run"), create=True)
    request.getfixturevalue("s3_server")
    fsspec.filesystem("s3").makedirs("runs", exist_ok=True)
    return RunFolder(f"s3://runs/{tmp_path.name}", create=True)


def test_shards_lie_a_thousand_to_a_folder() -> None:
    assert shard_key(42) == "data/g=0000/shard-00000042.parquet"
    assert shard_key(12_345) == "data/g=0012/shard-00012345.parquet"


def test_the_first_commit_wins_and_the_second_returns_false(run: RunFolder) -> None:
    assert run.commit(7, b"first")
    assert not run.commit(7, b"second")
    assert run.read(shard_key(7)) == b"first"


def test_committed_shards_are_the_files_that_exist_and_no_others(run: RunFolder) -> None:
    assert run.committed_shards() == set()
    run.commit(0, b"x")
    run.commit(1_234, b"x")
    run.put_new("data/g=0000/notes.txt", b"x")
    assert run.committed_shards() == {0, 1_234}


def test_attempts_are_numbered_counted_and_cleared(run: RunFolder) -> None:
    assert [run.start_attempt(3) for _ in range(3)] == [1, 2, 3]
    assert run.start_attempt(4) == 1
    assert run.count_attempts() == {3: 3, 4: 1}
    run.clear_attempts()
    assert run.count_attempts() == {}


def test_rounds_are_kept_apart(run: RunFolder) -> None:
    run.commit(0, b"first round")
    assert run.commit(0, b"second round", round=1)
    run.commit(5, b"second round", round=1)
    assert (run.committed_shards(), run.committed_shards(1)) == ({0}, {0, 5})
    assert (run.is_committed(5), run.is_committed(5, 1)) == (False, True)
    assert run.read("data-retry-001/g=0000/shard-00000005.parquet") == b"second round"
    assert [run.start_attempt(0), run.start_attempt(0, 1), run.start_attempt(0, 1)] == [1, 1, 2]
    assert (run.count_attempts(), run.count_attempts(1)) == ({0: 1}, {0: 2})


def test_a_single_writer_needs_no_condition_of_the_store(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless = RunFolder(run.location, single_writer=True)
    monkeypatch.setattr(folder, "put_new", lambda store, key, data: run.replace(key, data) or 1)
    careless.probe()
    assert careless.commit(0, b"first")
    assert not careless.commit(0, b"second")
    assert run.read(shard_key(0)) == b"first"


def test_the_probe_leaves_nothing_behind(run: RunFolder) -> None:
    run.probe()
    assert list(run.keys("")) == []


def test_a_store_that_overwrites_is_refused(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "put_new", lambda store, key, data: run.replace(key, data) or 1)
    with pytest.raises(ConfigError, match="conditional writes"):
        run.probe()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, s3_server: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="writing failed"):
        RunFolder(str(tmp_path / "file" / "run"), create=True)
    with pytest.raises(ConfigError, match="writing failed"):
        RunFolder("s3://no-such-bucket/run", create=True).probe()


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none"):
        RunFolder(str(tmp_path / "none"))
