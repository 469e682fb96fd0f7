import hashlib
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus.container import embedded_column, image_bytes, open_container
from possam_core.errors import ConfigError
from tests.pipelines.corpus.proxy import Proxy

HF_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def etag(data: bytes) -> str:
    return f"blake2b-{hashlib.blake2b(data, digest_size=16).hexdigest()}"


def parquet_bytes(table: pa.Table, **options: object) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def hf_table(*contents: bytes | None) -> pa.Table:
    images = [{"bytes": content, "path": f"{i}.jpg"} for i, content in enumerate(contents)]
    labels = list(range(len(images)))
    return pa.table({"label": labels, "image": pa.array(images, HF_IMAGE)})


def test_each_row_of_a_published_data_set_is_an_image(tmp_path: Path, read_rows) -> None:
    path = tmp_path / "train-0.parquet"
    path.write_bytes(parquet_bytes(hf_table(b"first", b"the second", b"3rd"), row_group_size=2))
    rows = read_rows(tmp_path / "train-*.parquet")
    assert [row["uri"] for row in rows] == [f"{path}#0", f"{path}#1", f"{path}#2"]
    assert [row["relative_uri"] for row in rows] == [f"train-0.parquet#{i}" for i in range(3)]
    assert [row["offset"] for row in rows] == [0, 1, 2]
    assert [row["size"] for row in rows] == [5, 10, 3]
    assert [row["etag"] for row in rows] == [etag(b"first"), etag(b"the second"), etag(b"3rd")]
    assert {row["container"] for row in rows} == {str(path)}


def test_a_missing_image_is_an_empty_one(tmp_path: Path, read_rows) -> None:
    images = [None, {"bytes": None, "path": "a.jpg"}, {"bytes": b"", "path": None}]
    table = pa.table({"image": pa.array(images, HF_IMAGE)})
    (tmp_path / "a.parquet").write_bytes(parquet_bytes(table))
    rows = read_rows(tmp_path / "a.parquet")
    assert [(r["offset"], r["size"], r["etag"]) for r in rows] == [
        *((0, 0, etag(b"")), (1, 0, etag(b"")), (2, 0, etag(b"")))
    ]


BYTES = (
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
    pa.dictionary(pa.int32(), pa.binary()),
)


@pytest.mark.parametrize("type_", BYTES)
def test_a_plain_column_of_bytes_will_do(tmp_path: Path, type_: pa.DataType, read_rows) -> None:
    table = pa.table({"thumbnail": [b"t"], "jpg": pa.array([b"image"], type_)})
    (tmp_path / "a.parquet").write_bytes(parquet_bytes(table))
    assert [row["etag"] for row in read_rows(tmp_path / "a.parquet")] == [etag(b"image")]


@pytest.mark.parametrize("type_", BYTES)
def test_so_will_such_bytes_in_a_struct(tmp_path: Path, type_: pa.DataType, read_rows) -> None:
    contents = pa.array([b"first", None], pa.binary()).cast(type_)
    images = pa.StructArray.from_arrays([contents, pa.array(["a", "b"])], ["bytes", "path"])
    (tmp_path / "a.parquet").write_bytes(parquet_bytes(pa.table({"image": images})))
    rows = read_rows(tmp_path / "a.parquet")
    assert [row["etag"] for row in rows] == [etag(b"first"), etag(b"")]


def test_the_image_column_is_known_by_type_and_then_by_name() -> None:
    plain, hf = pa.binary(), HF_IMAGE
    assert embedded_column(pa.schema([("mask", hf), ("image", hf), ("jpg", plain)])) == "image"
    assert embedded_column(pa.schema([("jpg", plain), ("photo", hf)])) == "photo"
    assert embedded_column(pa.schema([("bytes", plain), ("png", plain)])) == "png"
    with pytest.raises(ConfigError, match="got columns blob label"):
        embedded_column(pa.schema([("blob", plain), ("label", pa.int64())]))
    with pytest.raises(ConfigError, match="got columns image"):
        embedded_column(pa.schema([("image", pa.string())]))


def test_a_null_struct_has_no_bytes() -> None:
    column = pa.array([None, {"bytes": b"a", "path": None}], HF_IMAGE)
    assert image_bytes(column).to_pylist() == [None, b"a"]


def test_several_files_come_in_order_in_batches(tmp_path: Path, read_rows) -> None:
    for name, count in (("a", 5000), ("b", 1), ("c", 5000)):
        content = [b"x"] * count
        (tmp_path / f"{name}.parquet").write_bytes(parquet_bytes(hf_table(*content)))
    rows = read_rows(tmp_path / "*.parquet")
    expected = [
        f"{n}.parquet#{i}" for n, c in (("a", 5000), ("b", 1), ("c", 5000)) for i in range(c)
    ]
    assert [row["relative_uri"] for row in rows] == expected


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, read_rows) -> None:
    table = hf_table(*(bytes([i]) * 5000 for i in range(100))).select(["image"])
    sound = parquet_bytes(table)  # four bytes, then the pages of the images
    damaged = (b"", b"PAR1", sound[:-1], sound[:4] + b"\xff" * 500 + sound[504:])
    for content in damaged:
        (tmp_path / "bad.parquet").write_bytes(content)
        with pytest.raises(ConfigError, match=r"bad\.parquet"):
            read_rows(tmp_path / "bad.parquet")


def test_a_later_file_without_images_is_an_error_that_names_it(tmp_path: Path, read_rows) -> None:
    (tmp_path / "a.parquet").write_bytes(parquet_bytes(hf_table(b"x")))
    (tmp_path / "b.parquet").write_bytes(parquet_bytes(pa.table({"label": [1]})))
    with pytest.raises(ConfigError, match=r"b\.parquet.*got columns label"):
        read_rows(tmp_path / "*.parquet")


def test_a_file_in_a_bucket_is_read_by_ranges(proxy: Proxy, make_bucket, read_rows) -> None:
    contents = [bytes([i]) * 1000 for i in range(50)]
    data = parquet_bytes(hf_table(*contents), row_group_size=10)
    bucket = make_bucket("embedded", {"some/a.parquet": data})
    rows = read_rows(f"{bucket}/some/*.parquet")
    assert [row["etag"] for row in rows] == [etag(content) for content in contents]
    assert rows[-1]["uri"] == "s3://embedded/some/a.parquet#49"
    assert rows[-1]["relative_uri"] == "some/a.parquet#49"
    assert all(asked and asked.startswith("bytes=") for asked in proxy.ranges)


@pytest.mark.parametrize("is_remote", [True, False])
def test_an_open_container_seeks_as_files_do(tmp_path: Path, is_remote: bool, make_bucket) -> None:
    (tmp_path / "a b.parquet").write_bytes(b"0123456789")
    folder = make_bucket("containers", {"a b.parquet": b"0123456789"}) if is_remote else tmp_path
    with open_container(f"{folder}/a b.parquet") as stream:
        assert stream.read(3) == b"012"
        assert stream.tell() == 3
        assert stream.seek(-2, io.SEEK_END) == 8
        assert stream.read(10) == b"89"
        assert stream.read(10) == b""
        stream.seek(1)
        assert stream.seek(1, io.SEEK_CUR) == 2
        assert stream.read() == b"23456789"
    assert stream.closed


def test_a_container_that_changes_while_it_is_read_is_an_error(make_bucket) -> None:
    bucket = make_bucket("changing", {"a.parquet": b"0123456789"})
    with open_container(f"{bucket}/a.parquet") as stream:
        assert stream.read(3) == b"012"
        make_bucket("changing", {"a.parquet": b"abcdefghij"})
        with pytest.raises(OSError, match="changed"):
            stream.read(3)
