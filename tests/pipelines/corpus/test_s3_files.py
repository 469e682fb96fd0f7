from datetime import UTC, datetime, timedelta

import pytest

from pipelines.corpus import s3_files
from pipelines.corpus.source import read_source
from possam_core.errors import ConfigError
from tests.pipelines.corpus.proxy import Damage, Proxy


def same(*keys: str) -> dict[str, bytes]:
    return dict.fromkeys(keys, b"data")


def keys_in(images: str) -> list[str]:
    return [key for b in read_source(images) for key in b["relative_uri"].to_pylist()]


def test_a_bucket_lists_its_images_with_size_etag_and_time(make_bucket, read_rows) -> None:
    make_bucket(
        "inputs-rows", same("some/a.jpg", "some/deep/b #1?.png", "some/notes.txt", "other/c.jpg")
    )
    first, second = read_rows("s3://inputs-rows/some")
    modified = first.pop("modified")
    assert timedelta(0) <= datetime.now(UTC) - modified < timedelta(minutes=5)
    assert first == {
        "uri": "s3://inputs-rows/some/a.jpg",
        "relative_uri": "some/a.jpg",
        "size": 4,
        "etag": "8d777f385d3dfec8815d20f7496026dc",  # md5 of "data"
        "container": None,
        "offset": None,
        "image_id": None,
    }
    assert second["uri"] == "s3://inputs-rows/some/deep/b #1?.png"


def test_a_prefix_is_a_folder_and_one_object_is_a_corpus_of_one(make_bucket) -> None:
    bucket = make_bucket("inputs-folder", same("x/a.jpg", "x/a.jpg.png", "x-y/b.jpg"))
    assert keys_in(f"{bucket}/x") == ["x/a.jpg", "x/a.jpg.png"]
    assert keys_in(f"{bucket}/x/a.jpg") == ["x/a.jpg"]
    assert keys_in(bucket) == ["x-y/b.jpg", "x/a.jpg", "x/a.jpg.png"]


def test_keys_come_back_exactly_as_they_are(make_bucket) -> None:
    keys = [
        *("a b.jpg", "a+b.jpg", "a%2Fb.jpg", "a%b.jpg", "\x01.jpg", "tab\t.jpg", "cr\r.jpg"),
        *("/lead.jpg", "x//y.jpg", "../up.jpg", "./dot.jpg", "a/./b.jpg", "😀.jpg", "é.jpg"),
        *("q?versionId=3.jpg", "#h.jpg", "&<>.jpg", "back\\slash.jpg", "\x7f.jpg"),
    ]
    assert keys_in(make_bucket("inputs-odd", same(*keys))) == sorted(keys)


def test_a_glob_is_listed_below_its_literal_part_only(proxy: Proxy, make_bucket) -> None:
    keys = ("x/1/y1.jpg", "x/1/z.jpg", "x/2/y2.jpg", "x/2/deep/y3.jpg", "w/1/y.jpg", "x/y4.jpg")
    bucket = make_bucket("inputs-glob", same(*keys))
    proxy.listings.clear()
    assert keys_in(f"{bucket}/x/*/y*.jpg") == ["x/1/y1.jpg", "x/2/y2.jpg"]
    assert {q["prefix"][0] for q in proxy.listings} == {"x/", "x/1/", "x/2/"}  # never x/2/deep/
    assert keys_in(f"{bucket}/x/**/y*.jpg") == [
        *("x/1/y1.jpg", "x/2/deep/y3.jpg", "x/2/y2.jpg", "x/y4.jpg")
    ]
    assert keys_in(f"{bucket}/[wx]/1/y*.jpg") == ["w/1/y.jpg", "x/1/y1.jpg"]


def test_levels_that_fill_many_pages_keep_the_order(
    make_bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"{a}/{b}/{c}.jpg" for a in "abc" for b in range(4) for c in range(3)]
    keys += [f"{a}.jpg" for a in "abcd"] + [f"b/{b}.jpg" for b in range(7)] + ["b/0-/x.jpg"]
    bucket = make_bucket("inputs-pages", same(*keys))
    ask = s3_files._Listing._ask
    small_pages = lambda self, **request: ask(self, **{"MaxKeys": 3} | request)  # noqa: E731
    monkeypatch.setattr(s3_files._Listing, "_ask", small_pages)
    for enough in (1, 4, 64):
        monkeypatch.setattr(s3_files, "ENOUGH_PREFIXES", enough)
        assert keys_in(bucket) == sorted(keys)


def test_pages_are_asked_for_a_few_ahead_and_no_further(
    proxy: Proxy, make_bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = make_bucket("inputs-lazy", same(*(f"x/{i:03d}.jpg" for i in range(200))))
    proxy.listings.clear()
    ask = s3_files._Listing._ask
    one_key = lambda self, **request: ask(self, **{"MaxKeys": 1} | request)  # noqa: E731
    monkeypatch.setattr(s3_files._Listing, "_ask", one_key)
    found = s3_files.list_s3(f"{bucket}/x", (".jpg",))
    assert proxy.listings == []
    assert next(found).relative_uri == "x/000.jpg"
    found.close()
    assert len(proxy.listings) < 60


def flip(old: bytes, new: bytes) -> Damage:
    def damage(body: bytes) -> bytes:
        assert old in body
        return body.replace(old, new, 1)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        flip(b"<Key>", b"<Kex>"),
        flip(b"<Size>4", b"<Size>x"),
        flip(b"Z</LastModified>", b"#</LastModified>"),
        lambda body: body[: len(body) // 2],
        lambda body: 500,
        lambda body: 503,
        lambda body: None,
    ],
)
def test_a_damaged_listing_is_asked_for_again(proxy: Proxy, make_bucket, damage: Damage) -> None:
    bucket = make_bucket("inputs-faults", same("a.jpg", "b.jpg"))
    proxy.damages = [damage, damage]
    assert keys_in(bucket) == ["a.jpg", "b.jpg"]
    assert proxy.damages == []


def test_a_listing_that_loses_its_end_is_asked_for_again(
    proxy: Proxy, make_bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = make_bucket("inputs-flag", same(*(f"{i}.jpg" for i in range(5))))
    ask = s3_files._Listing._ask
    two_keys = lambda self, **request: ask(self, **{"MaxKeys": 2} | request)  # noqa: E731
    monkeypatch.setattr(s3_files._Listing, "_ask", two_keys)
    proxy.damages = [flip(b"<IsTruncated>true", b"<IsTruncated>trve")]
    assert keys_in(bucket) == [f"{i}.jpg" for i in range(5)]


def test_a_listing_that_stays_broken_is_an_error_that_says_so(proxy: Proxy, make_bucket) -> None:
    bucket = make_bucket("inputs-broken", same("a.jpg"))
    proxy.damages = [flip(b"<Key>", b"<Kex>")] * 99
    with pytest.raises(ConfigError, match=r"s3://inputs-broken, but listing it failed"):
        keys_in(bucket)


def test_a_bucket_that_does_not_exist_is_an_error_at_once(proxy: Proxy) -> None:
    with pytest.raises(ConfigError, match=r"s3://missing-bucket/x.*NoSuchBucket"):
        keys_in("s3://missing-bucket/x")
    assert len(proxy.listings) == 1


def test_a_prefix_without_images_is_an_error(make_bucket) -> None:
    bucket = make_bucket("inputs-empty", same("x/notes.txt"))
    with pytest.raises(ConfigError, match="found none; check the address"):
        keys_in(f"{bucket}/x")
