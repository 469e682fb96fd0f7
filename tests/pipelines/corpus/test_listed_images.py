import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from possam_core.errors import ConfigError

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
UNKNOWN = dict.fromkeys(("size", "etag", "container", "offset", "modified", "image_id"))


def write_parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def write_csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def write_json(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def three_manifests(folder: Path) -> list[Path]:
    row = {"uri": "s3://b/k 1.jpg", "image_id": "one", "size": 7, "etag": '"abc"'}
    more = {"label": 3, "modified": "2026-05-04T12:00:00Z"}
    return [
        write_parquet(
            folder / "m.parquet",
            **{name: [value] for name, value in row.items()},
            label=[3],
            modified=pa.array([NOON], pa.timestamp("ns", "UTC")),
        ),
        write_csv(
            folder / "m.csv",
            "label,etag,uri,size,image_id,modified",
            '3,"""abc""",s3://b/k 1.jpg,7,one,2026-05-04T12:00:00Z',
        ),
        write_json(folder / "m.jsonl", row | more),
        write_json(folder / "m.ndjson", more | row),
    ]


def test_every_kind_of_manifest_gives_the_same_row(tmp_path: Path, read_rows) -> None:
    for path in three_manifests(tmp_path):
        assert read_rows(path) == [
            {
                "uri": "s3://b/k 1.jpg",
                "relative_uri": "s3://b/k 1.jpg",
                "size": 7,
                "etag": "abc",
                "container": None,
                "offset": None,
                "modified": NOON,
                "image_id": "one",
            }
        ]


def test_what_a_manifest_does_not_say_is_unknown(tmp_path: Path, read_rows) -> None:
    expected = {"uri": "s3://b/k", "relative_uri": "s3://b/k"} | UNKNOWN
    assert read_rows(write_parquet(tmp_path / "m.parquet", uri=["s3://b/k"])) == [expected]
    assert read_rows(write_csv(tmp_path / "m.csv", "uri", "s3://b/k")) == [expected]
    assert read_rows(write_json(tmp_path / "m.jsonl", {"uri": "s3://b/k"})) == [expected]
    blank = write_parquet(tmp_path / "b.parquet", uri=["s3://b/k"], etag=[""], image_id=[""])
    assert read_rows(blank) == [expected]
    empty = write_csv(tmp_path / "b.csv", "uri,size,etag,modified,image_id", "s3://b/k,,,,")
    assert read_rows(empty) == [expected]


def test_rows_keep_the_order_of_the_manifest_across_batches(tmp_path: Path, read_rows) -> None:
    uris = [f"s3://b/{i * 7919 % 20_000:05d}.jpg" for i in range(20_000)]
    write_parquet(tmp_path / "m.parquet", uri=uris, size=range(20_000))
    write_csv(tmp_path / "m.csv", "uri,size", *(f"{uri},{i}" for i, uri in enumerate(uris)))
    write_json(tmp_path / "m.jsonl", *({"uri": uri, "size": i} for i, uri in enumerate(uris)))
    for name in ("m.parquet", "m.csv", "m.jsonl"):
        rows = read_rows(tmp_path / name)
        assert [row["uri"] for row in rows] == uris
        assert [row["size"] for row in rows] == list(range(20_000))


def test_a_glob_of_manifests_is_all_of_them_in_order(tmp_path: Path, read_rows) -> None:
    for i in (2, 0, 1):
        write_csv(tmp_path / f"part-{i}.csv", "uri", f"s3://b/{i}.jpg")
    uris = [row["uri"] for row in read_rows(tmp_path / "part-*.csv")]
    assert uris == ["s3://b/0.jpg", "s3://b/1.jpg", "s3://b/2.jpg"]


def test_paths_are_relative_to_the_manifest_and_become_absolute(tmp_path: Path, read_rows) -> None:
    (tmp_path / "data").mkdir()
    written = [
        *("a.jpg", "sub/b.jpg", "./c.jpg", "sub/../d.jpg", "sub//e.jpg", "...jpg", "f g%20.jpg"),
        f"{tmp_path}/data/h.jpg",
        f"{tmp_path}/data/../data/i.jpg",
        f"file://{tmp_path}/data/caf%E9.jpg",
        f"file://{tmp_path}/data/plain%20name.jpg",
        "s3://b/k.jpg",
    ]
    path = write_parquet(tmp_path / "data/m.parquet", uri=written)
    rows = read_rows(path)
    assert [row["relative_uri"] for row in rows] == written
    expected = ["a.jpg", "sub/b.jpg", "c.jpg", "d.jpg", "sub/e.jpg", "...jpg", "f g%20.jpg"]
    assert [row["uri"] for row in rows] == [
        *(f"{tmp_path}/data/{name}" for name in (*expected, "h.jpg", "i.jpg")),
        f"file://{tmp_path}/data/caf%E9.jpg",
        f"{tmp_path}/data/plain name.jpg",
        "s3://b/k.jpg",
    ]


@pytest.mark.parametrize(
    "outside",
    ["../a.jpg", "sub/../../a.jpg", "/etc/passwd", "..", ".", "/", "file:///etc/a.jpg", "a\0.jpg"],
)
def test_paths_outside_the_folder_of_the_manifest_are_refused(
    tmp_path: Path, outside: str, read_rows
) -> None:
    (tmp_path / "data-2").mkdir()
    path = write_parquet(
        tmp_path / "data-2/m.parquet", uri=["a.jpg", outside, f"{tmp_path}/data/b.jpg"]
    )
    with pytest.raises(ConfigError, match=r"m\.parquet.*\(2 such uris") as error:
        read_rows(path)
    assert repr(outside) in str(error.value)


def test_a_folder_whose_name_is_not_utf8_may_hold_a_manifest(tmp_path: Path, read_rows) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    write_csv(folder / "m.csv", "uri", "a%.jpg")
    assert [row["uri"] for row in read_rows(tmp_path / "**/*.csv")] == [
        f"file://{tmp_path}/caf%E9/a%25.jpg"
    ]


def test_a_manifest_in_a_bucket_names_what_lies_beside_it(make_bucket, read_rows) -> None:
    body = b"uri\nsub/../a.jpg\nb c.jpg\ns3://other/k.jpg\n"
    bucket = make_bucket("manifests", {"x/m.csv": body, "x/bad.csv": b"uri\n/manifests/x/a.jpg\n"})
    assert [row["uri"] for row in read_rows(f"{bucket}/x/m.csv")] == [
        *("s3://manifests/x/a.jpg", "s3://manifests/x/b c.jpg", "s3://other/k.jpg")
    ]
    with pytest.raises(ConfigError, match=r"'/manifests/x/a\.jpg'"):
        read_rows(f"{bucket}/x/bad.csv")


@pytest.mark.parametrize(
    ("uri", "hosts", "refused"),
    [
        ("https://example.org/a.jpg", (), "example.org"),
        ("https://example.org/a.jpg", ("example.org",), None),
        ("http://EXAMPLE.org:8080/a.jpg", ("Example.org",), None),
        ("https://img.example.org/a.jpg", ("example.org",), "img.example.org"),
        ("https://img.example.org/a.jpg", (".example.org",), None),
        ("https://example.org/a.jpg", (".example.org",), None),
        ("https://Example.org./a.jpg", ("example.org",), None),
        ("https://example.org/a.jpg", ("example.org:443",), None),
        ("https://example.org:8443/a.jpg", ("example.org:443",), "example.org:8443"),
        ("https://badexample.org/a.jpg", (".example.org", "example.org"), "badexample.org"),
        ("https://example.org.evil.net/a.jpg", ("example.org",), "example.org.evil.net"),
        ("https://example.org@evil.net/a.jpg", ("example.org",), "plain host name"),
        ("https://evil.net\\@example.org/a.jpg", ("example.org",), "plain host name"),
        ("https:///a.jpg", ("example.org",), "plain host name"),
    ],
)
def test_web_addresses_need_an_allowed_host(
    tmp_path: Path, uri: str, hosts: tuple[str, ...], refused: str | None, read_rows
) -> None:
    path = write_json(tmp_path / "m.jsonl", {"uri": "s3://b/k.jpg"}, {"uri": uri})
    if refused is None:
        assert read_rows(path, allowed_hosts=hosts)[1]["uri"] == uri
    else:
        with pytest.raises(ConfigError) as error:
            read_rows(path, allowed_hosts=hosts)
        assert refused in str(error.value)
        assert ("add it with --allowed-host" in str(error.value)) == (refused != "plain host name")


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "",
        "  ",
        "gs://b/k.jpg",
        "S3://b/k.jpg",
        "HTTPS://h/a",
        "s3://b",
        "s3:///k",
        " s3://b/k",
    ],
)
def test_a_uri_that_leads_nowhere_is_an_error_with_its_row(
    tmp_path: Path, uri: str | None, read_rows
) -> None:
    uris = [f"s3://b/{i}.jpg" for i in range(9000)]
    path = write_parquet(tmp_path / "m.parquet", uri=[*uris[:8999], uri, *uris])
    with pytest.raises(ConfigError, match=r"m\.parquet.* in row 9000") as error:
        read_rows(path)
    assert repr(uri) in str(error.value)


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("size", ["7"], "string"),
        ("size", [7.0], "double"),
        ("etag", [7], "int64"),
        ("image_id", [b"x"], "binary"),
        ("modified", ["2026-05-04T12:00:00Z"], "string"),
    ],
)
def test_a_column_of_another_type_is_an_error_that_names_both(
    tmp_path: Path, column: str, values: list, found: str, read_rows
) -> None:
    path = write_parquet(tmp_path / "m.parquet", uri=["s3://b/k"], **{column: values})
    with pytest.raises(ConfigError, match=rf"in column {column} of .*, got {found};"):
        read_rows(path)


@pytest.mark.parametrize("text", [pa.large_string(), pa.string_view()])
def test_widths_and_encodings_of_a_type_do_not_matter(
    tmp_path: Path, text: pa.DataType, read_rows
) -> None:
    path = write_parquet(
        tmp_path / "m.parquet",
        uri=pa.array(["s3://b/k"], text),
        etag=pa.array(["abc"]).dictionary_encode(),
        size=pa.array([7], pa.uint16()),
        modified=pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ms")),
        image_id=pa.nulls(1),
    )
    (row,) = read_rows(path)
    assert (row["uri"], row["etag"], row["size"]) == ("s3://b/k", "abc", 7)
    assert (row["modified"], row["image_id"]) == (NOON, None)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "uri,size\ns3://b/k,7\ns3://b/l,many\n", "column size .* 'many'"),
        ("m.csv", "uri,modified\ns3://b/k,yesterday\n", "column modified .* 'yesterday'"),
        ("m.csv", "url\ns3://b/k\n", "expected a column uri in .*, got url"),
        ("m.csv", "uri,uri\ns3://b/k,s3://b/l\n", "expected one column uri"),
        ("m.csv", "uri,size\ns3://b/k\n", "reading them failed"),
        ("m.csv", "", "reading them failed"),
        ("m.csv", "uri\ncaf\udce9.jpg\n", "UTF-?8"),
        ("m.jsonl", '{"uri": "s3://b/k", "size": "7"}\n', r"Column\(/size\) changed from number"),
        ("m.jsonl", '{"uri": 7}\n', r"Column\(/uri\) changed from string to number"),
        ("m.jsonl", '{"url": "s3://b/k"}\n', "got None in row 1"),
        ("m.jsonl", '{"uri": "caf\udce9.jpg"}\n', "UTF-8"),
        ("m.jsonl", '{"uri": "s3://b/k"', "reading them failed"),
    ],
)
def test_text_that_breaks_the_rules_is_an_error_that_says_where(
    tmp_path: Path, name: str, text: str, message: str, read_rows
) -> None:
    (tmp_path / name).write_bytes(os.fsencode(text))
    with pytest.raises(ConfigError, match=rf"(?s){message}") as error:
        read_rows(tmp_path / name)
    assert name in str(error.value)


def test_text_that_is_not_utf8_is_an_error_in_parquet_too(tmp_path: Path, read_rows) -> None:
    broken = pa.array([b"s3://b/\xff.jpg"], pa.binary()).view(pa.string())
    path = write_parquet(tmp_path / "m.parquet", uri=broken)
    with pytest.raises(ConfigError, match=r"expected UTF-8 in .*m\.parquet"):
        read_rows(path)


def test_times_without_a_zone_are_utc(tmp_path: Path, read_rows) -> None:
    path = write_csv(tmp_path / "m.csv", "uri,modified", "s3://b/k,2026-05-04 12:00:00")
    assert read_rows(path)[0]["modified"] == NOON
    path = write_csv(tmp_path / "m.csv", "uri,modified", "s3://b/k,2026-05-04T14:00:00+02:00")
    assert read_rows(path)[0]["modified"] == NOON


def test_quoted_text_may_hold_commas_and_lines(tmp_path: Path, read_rows) -> None:
    path = write_csv(tmp_path / "m.csv", "uri,caption", '"s3://b/a,b.jpg","two\nlines"')
    assert [row["uri"] for row in read_rows(path)] == ["s3://b/a,b.jpg"]


def test_a_manifest_without_rows_is_an_error(tmp_path: Path, read_rows) -> None:
    with pytest.raises(ConfigError, match=r"expected images in \.csv files"):
        read_rows(write_csv(tmp_path / "m.csv", "uri"))
