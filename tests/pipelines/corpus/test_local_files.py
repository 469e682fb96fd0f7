import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.corpus.source import read_source, require_corpus
from pipelines.storage.addresses import local_path
from possam_core.errors import ConfigError


def write(path: Path, data: bytes = b"data") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(images: object) -> list[str]:
    return [name for b in read_source(str(images)) for name in b["relative_uri"].to_pylist()]


def test_a_folder_is_listed_recursively_by_extension_and_sorted(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/c.PNG", "a/d.webp", "notes.txt", "a/jpg"):
        write(tmp_path / name)
    assert names(tmp_path) == ["a/c.PNG", "a/d.webp", "b.jpg"]


def test_the_order_is_that_of_whole_uris_not_of_folders_and_files(tmp_path: Path) -> None:
    # "-" and "." sort before "/", "0" and letters after it.
    for name in ("a/z.jpg", "a.jpg", "a-b/c.jpg", "a0.jpg", "ab/c.jpg", "a/b/c.jpg", "é/ü.jpg"):
        write(tmp_path / name)
    expected = ["a-b/c.jpg", "a.jpg", "a/b/c.jpg", "a/z.jpg", "a0.jpg", "ab/c.jpg", "é/ü.jpg"]
    assert names(tmp_path) == expected
    assert names(tmp_path) == sorted(names(tmp_path))


def test_a_row_holds_size_content_and_time_of_the_file(tmp_path: Path, read_rows) -> None:
    path = write(tmp_path / "deep/a.jpg", b"data")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    assert read_rows(tmp_path) == [
        {
            "uri": str(path),
            "relative_uri": "deep/a.jpg",
            "size": 4,
            "etag": "blake2b-82f64e6be809763df98195dfa5de656c",
            "container": None,
            "offset": None,
            "modified": datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC),
            "image_id": None,
        }
    ]


def test_links_are_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outside = write(tmp_path / "outside/secret.jpg")
    write(tmp_path / "corpus/a.jpg")
    (tmp_path / "corpus/loop").symlink_to(tmp_path / "corpus")
    (tmp_path / "corpus/link.jpg").symlink_to(outside)
    os.mkfifo(tmp_path / "corpus/pipe.jpg")
    assert names(tmp_path / "corpus") == ["a.jpg"]
    assert "link.jpg: not a regular file" in caplog.text
    assert "pipe.jpg: not a regular file" in caplog.text
    assert names(tmp_path / "corpus/*.jpg") == ["a.jpg"]
    with pytest.raises(ConfigError, match=r"link\.jpg"):
        names(tmp_path / "corpus/link.jpg")


def test_a_glob_takes_what_matches(tmp_path: Path) -> None:
    for name in ("day-1/a.jpg", "day-1/b.png", "day-2/a.jpg", "night/a.jpg", "day-1/x/a.jpg"):
        write(tmp_path / name)
    assert names(tmp_path / "day-*/*.jpg") == ["day-1/a.jpg", "day-2/a.jpg"]
    assert names(tmp_path / "day-1/**/a.jpg") == ["a.jpg", "x/a.jpg"]


def test_a_single_file_is_a_corpus_of_one(tmp_path: Path) -> None:
    write(tmp_path / "b.jpg")
    assert names(write(tmp_path / "a[1].jpg")) == ["a[1].jpg"]


def test_a_name_that_is_not_utf8_gets_a_uri_that_leads_back_to_it(
    tmp_path: Path, read_rows
) -> None:
    write(tmp_path / "z/plain.jpg")
    strange = [b"/caf\xe9.jpg", b"/z/\xff.jpg", b"/\xfe/x.jpg"]
    for name in strange:
        write(Path(os.fsdecode(os.fsencode(tmp_path) + name)))
    rows = read_rows(tmp_path)
    uris = [row["uri"] for row in rows]
    assert uris == sorted(uris)
    assert uris[0] == f"{tmp_path}/z/plain.jpg"
    assert [u.startswith(f"file://{tmp_path}/") for u in uris] == [False, True, True, True]
    assert all(row["etag"] for row in rows)
    found = {os.fsencode(local_path(uri) or "") for uri in uris[1:]}
    assert found == {os.fsencode(tmp_path) + name for name in strange}


def test_a_file_that_cannot_be_read_is_a_row_without_etag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_rows
) -> None:
    write(tmp_path / "a.jpg")
    gone = write(tmp_path / "b.jpg", b"four")
    open_path = Path.open

    def refuse(path: Path, *args: str) -> object:  # permissions do not stop root
        if path == gone:
            raise PermissionError(path)
        return open_path(path, *args)

    monkeypatch.setattr(Path, "open", refuse)
    first, second = read_rows(tmp_path)
    assert first["etag"] is not None
    assert (second["etag"], second["size"]) == (None, 4)


@pytest.mark.parametrize("where", ["nowhere", "nowhere/*.jpg", "empty", "empty/*.jpg"])
def test_no_images_is_an_error_that_names_the_place(tmp_path: Path, where: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=where.partition("/")[0]):
        names(tmp_path / where)


def test_identity_follows_content(tmp_path: Path, read_rows) -> None:
    write(tmp_path / "one/a.jpg", b"same")
    write(tmp_path / "one/b.jpg", b"same")
    write(tmp_path / "two/a.jpg", b"other")
    (a, b), (other,) = read_rows(tmp_path / "one"), read_rows(tmp_path / "two")
    assert a["etag"] == b["etag"] != other["etag"]


def test_ten_thousand_files_come_in_batches_and_in_order(tmp_path: Path) -> None:
    for i in range(10_000):
        (tmp_path / f"{i:05d}.jpg").touch()
    batches = list(read_source(str(tmp_path)))
    assert [batch.num_rows for batch in batches] == [8192, 1808]
    expected = [f"{i:05d}.jpg" for i in range(10_000)]
    assert [n for b in batches for n in b["relative_uri"].to_pylist()] == expected


def test_a_corpus_is_required_to_be_there(tmp_path: Path) -> None:
    require_corpus("s3://anywhere/at-all")
    require_corpus(str(tmp_path))
    require_corpus(f"{tmp_path}/*.jpg")
    with pytest.raises(ConfigError, match="does not exist"):
        require_corpus(f"{tmp_path}/gone")
