from pathlib import Path

import fsspec
import obstore
import pytest

from pipelines.storage import folder as folders
from pipelines.storage.folder import StoreFolder
from pipelines.storage.store import open_store, writing_named
from possam_core.errors import ConfigError


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> StoreFolder:
    """An empty folder, on disk and in a bucket."""
    if request.param == "local":
        return StoreFolder(str(tmp_path / "folder"), create=True)
    request.getfixturevalue("s3_server")
    fsspec.filesystem("s3").makedirs("folders", exist_ok=True)
    return StoreFolder(f"s3://folders/{tmp_path.name}")


def test_what_is_not_there_reads_as_none(folder: StoreFolder) -> None:
    assert folder.read("a") is None
    assert folder.read_json("a.json") is None
    assert not folder.exists("a")
    assert folder.is_empty()


def test_the_first_of_two_that_must_be_new_stays(folder: StoreFolder) -> None:
    assert folder.put_new("a", b"first")
    assert not folder.put_new("a", b"second")
    assert folder.read("a") == b"first"
    assert not folder.is_empty()


def test_a_replaced_key_has_the_last_content(folder: StoreFolder, tmp_path: Path) -> None:
    folder.replace("a.json", b"[1]")
    folder.replace_once("a.json", b"[2]")
    assert folder.read_json("a.json") == [2]
    (tmp_path / "file").write_bytes(b"[3]")
    folder.replace_file("a.json", tmp_path / "file")
    assert folder.read_json("a.json") == [3]


def test_bytes_for_one_request_and_for_several_are_the_same(
    folder: StoreFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "WHOLE_BYTES", 4)
    folder.replace("large", b"12345")
    assert folder.read("large") == b"12345"


def test_a_listing_names_what_lies_below_a_prefix(folder: StoreFolder) -> None:
    for key in ("a/1", "a/b/2", "ab/3"):
        folder.put_new(key, b"xyz")
    assert sorted(folder.keys("a")) == ["a/1", "a/b/2"]
    assert {(entry["path"], entry["size"]) for entry in folder.entries()} == {
        *(("a/1", 3), ("a/b/2", 3), ("ab/3", 3))
    }


def test_what_is_gone_already_keeps_no_other_key_alive(folder: StoreFolder) -> None:
    for key in ("a", "c"):
        folder.put_new(key, b"x")
    folder.remove(["a", "b", "c"])
    assert folder.is_empty()


def test_a_single_writer_needs_no_condition_of_the_store(
    folder: StoreFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "put_new", lambda *_: pytest.fail("a conditional write"))
    careless = StoreFolder(folder.location, single_writer=True)
    assert careless.put_new("a", b"first")
    assert not careless.put_new("a", b"second")
    assert folder.read("a") == b"first"


def test_a_bucket_keeps_the_media_type(s3_server: str) -> None:
    fsspec.filesystem("s3").makedirs("folders", exist_ok=True)
    StoreFolder("s3://folders").replace("page.html", b"x", attributes={"Content-Type": "text/html"})
    reply = obstore.get(open_store("s3://folders"), "page.html")
    assert reply.attributes["Content-Type"] == "text/html"


def test_trouble_with_writing_is_one_sentence(s3_server: str) -> None:
    nowhere = StoreFolder("s3://no-such-bucket/run")
    with (
        pytest.raises(ConfigError, match=r"a place to write at s3://no-such-bucket/run.*--output"),
        writing_named(nowhere.location),
    ):
        nowhere.put_new("a", b"x")
