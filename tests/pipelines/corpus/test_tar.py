import hashlib
import io
import logging
import os
import tarfile
from pathlib import Path

import pytest

from possam_core.errors import ConfigError
from tests.pipelines.corpus.proxy import Proxy


def etag(data: bytes) -> str:
    return f"blake2b-{hashlib.blake2b(data, digest_size=16).hexdigest()}"


def tar_bytes(members: dict[str, bytes], format: int = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def test_each_image_of_a_tar_is_a_row_that_leads_to_its_bytes(tmp_path: Path, read_rows) -> None:
    members = {"0.txt": b"a label", "0.jpg": b"first", "0.json": b"{}", "sub/1.PNG": b"second one"}
    path = tmp_path / "shard-0.tar"
    path.write_bytes(tar_bytes(members))
    rows = read_rows(path)
    assert [row["uri"] for row in rows] == [f"{path}#0.jpg", f"{path}#sub/1.PNG"]
    assert [row["relative_uri"] for row in rows] == ["shard-0.tar#0.jpg", "shard-0.tar#sub/1.PNG"]
    assert [row["etag"] for row in rows] == [etag(b"first"), etag(b"second one")]
    assert {row["container"] for row in rows} == {str(path)}
    # A header, then content in blocks of 512 bytes: text at 0, jpg at 1024, json, png at 3072.
    assert [(row["offset"], row["size"]) for row in rows] == [(1536, 5), (3584, 10)]
    content = path.read_bytes()
    assert [content[r["offset"] :][: r["size"]] for r in rows] == [b"first", b"second one"]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_keep_their_place(tmp_path: Path, format: int, read_rows) -> None:
    names = [f"{'deep/' * 60}a.jpg", "ünï 😀.jpg", "../../etc/up.jpg", "/abs.jpg", "a#b.jpg"]
    data = {name: name.encode() for name in names}
    (tmp_path / "a.tar").write_bytes(tar_bytes(data, format))
    rows = read_rows(tmp_path / "a.tar")
    assert [row["relative_uri"] for row in rows] == [f"a.tar#{name}" for name in names]
    content = (tmp_path / "a.tar").read_bytes()
    for row, expected in zip(rows, data.values(), strict=True):
        assert content[row["offset"] :][: row["size"]] == expected


def test_a_name_that_is_not_utf8_is_quoted(tmp_path: Path, read_rows) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes({os.fsdecode(b"caf\xe9.jpg"): b"x"}))
    assert [row["relative_uri"] for row in read_rows(tmp_path / "a.tar")] == ["a.tar#caf%E9.jpg"]


def test_what_is_not_a_plain_file_is_skipped(
    tmp_path: Path, read_rows, caplog: pytest.LogCaptureFixture
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (
            ("soft.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
            ("folder.jpg", tarfile.DIRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        sparse = tarfile.TarInfo("sparse.jpg")
        sparse.pax_headers = {"GNU.sparse.map": "0,4", "GNU.sparse.size": "4096"}
        sparse.size = 4
        tar.addfile(sparse, io.BytesIO(b"data"))
        last = tarfile.TarInfo("last.jpg")
        last.size = 4
        tar.addfile(last, io.BytesIO(b"last"))
    with caplog.at_level(logging.WARNING):
        rows = read_rows(tmp_path / "a.tar")
    assert [row["relative_uri"] for row in rows] == ["a.tar#last.jpg"]
    assert [record.args[1] for record in caplog.records] == [
        *("soft.jpg", "hard.jpg", "pipe.jpg", "sparse.jpg")
    ]


def test_an_empty_member_is_still_a_row(tmp_path: Path, read_rows) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes({"a.jpg": b"", "b.jpg": b"x"}))
    assert [(r["size"], r["etag"]) for r in read_rows(tmp_path / "a.tar")] == [
        (0, etag(b"")),
        (1, etag(b"x")),
    ]


TWO = tar_bytes({"a.jpg": b"a" * 1000, "b.jpg": b"b" * 1000})  # headers at 0 and 1536
LONG_NAME = tar_bytes({"n" * 200 + ".jpg": b"x"})  # begins with a header for the name


def with_size(tar: bytes, size: int) -> bytes:
    """The same tar whose first header says `size` and has a checksum that fits."""
    said = b"\x80" + size.to_bytes(11, "big")
    head = tar[:124] + said + tar[136:148] + b" " * 8 + tar[156:512]
    return head[:148] + b"%06o\0 " % sum(head) + head[156:] + tar[512:]


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"not a tar at all" * 100,
        TWO[:700],  # within the first image
        TWO[:1536],  # between two members
        TWO[:1700],  # within a header
        TWO[:3072],  # before the end marker
        TWO[:1536] + b"\xff" + TWO[1537:],  # a header whose checksum fails
        TWO[:1536] + bytes(512) + TWO[2048:],  # a header of zeros, which looks like the end
        with_size(TWO, 2**80),
        with_size(TWO, 1001 + 512),
        with_size(LONG_NAME, 2**24),
    ],
)
def test_a_damaged_tar_is_an_error_that_names_it(tmp_path: Path, damaged: bytes, read_rows) -> None:
    (tmp_path / "good-0.tar").write_bytes(TWO)
    (tmp_path / "bad-1.tar").write_bytes(damaged)
    with pytest.raises(ConfigError, match=r"bad-1\.tar"):
        read_rows(tmp_path / "*.tar")


def test_a_compressed_tar_is_refused_by_name_and_by_content(tmp_path: Path, read_rows) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(ConfigError, match="uncompressed tar"):
        read_rows(tmp_path / "a.tar.gz")
    (tmp_path / "a.tar.gz").rename(tmp_path / "a.tar")
    with pytest.raises(ConfigError, match="uncompressed tar"):
        read_rows(tmp_path / "a.tar")


def test_many_tars_come_in_order_whatever_their_size(tmp_path: Path, read_rows) -> None:
    (tmp_path / "deep").mkdir()
    expected = []
    for i in range(12):
        names = [f"{k}.jpg" for k in range(300 if i % 3 == 0 else 2)]
        (tmp_path / f"deep/{i:02d}.tar").write_bytes(tar_bytes({n: b"x" for n in names}))
        expected += [f"deep/{i:02d}.tar#{name}" for name in names]
    assert [row["relative_uri"] for row in read_rows(tmp_path / "**/*.tar")] == expected


def test_tars_without_images_are_an_error(tmp_path: Path, read_rows) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes({"a.txt": b"x"}))
    with pytest.raises(ConfigError, match=r"expected images in \.tar files"):
        read_rows(tmp_path / "a.tar")


def test_a_tar_in_a_bucket_arrives_in_one_answer(proxy: Proxy, make_bucket, read_rows) -> None:
    bucket = make_bucket("tars", {"some/a.tar": TWO})
    rows = read_rows(f"{bucket}/some/*.tar")
    assert len(proxy.ranges) == 1
    assert [row["uri"] for row in rows] == [
        "s3://tars/some/a.tar#a.jpg",
        "s3://tars/some/a.tar#b.jpg",
    ]
    assert [row["relative_uri"] for row in rows] == ["some/a.tar#a.jpg", "some/a.tar#b.jpg"]
    assert [(row["offset"], row["size"]) for row in rows] == [(512, 1000), (2048, 1000)]
    assert rows[0]["modified"] is not None


def test_a_stream_that_breaks_is_resumed(proxy: Proxy, make_bucket, read_rows) -> None:
    bucket = make_bucket("tars-cut", {"a.tar": TWO})
    proxy.cuts = [1000, 1]
    rows = read_rows(f"{bucket}/a.tar")
    assert [row["etag"] for row in rows] == [etag(b"a" * 1000), etag(b"b" * 1000)]
    assert proxy.cuts == []


def test_a_tar_whose_key_the_client_cannot_express_is_refused(make_bucket, read_rows) -> None:
    bucket = make_bucket("slash", {"/a.tar": TWO, "a.tar": TWO})
    with pytest.raises(ConfigError, match=r"without a slash at its beginning or end, got '/a.tar'"):
        read_rows(f"{bucket}//*.tar")
