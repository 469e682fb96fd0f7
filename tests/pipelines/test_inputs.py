import os
from pathlib import Path

import pytest

from pipelines.inputs import find_images, identify, local_path
from possam_core.errors import ConfigError


def write(path: Path, data: bytes = b"data") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(images: str) -> list[str]:
    return [f.relative_uri for f in find_images(images)]


def test_a_folder_is_listed_recursively_by_extension_and_sorted(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/c.PNG", "a/d.webp", "notes.txt", "a/jpg"):
        write(tmp_path / name)
    assert names(str(tmp_path)) == ["a/c.PNG", "a/d.webp", "b.jpg"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside/secret.jpg")
    write(tmp_path / "corpus/a.jpg")
    (tmp_path / "corpus/loop").symlink_to(tmp_path / "corpus")
    (tmp_path / "corpus/link.jpg").symlink_to(outside)
    os.mkfifo(tmp_path / "corpus/pipe.jpg")
    assert names(str(tmp_path / "corpus")) == ["a.jpg"]


def test_a_glob_takes_what_matches(tmp_path: Path) -> None:
    for name in ("day-1/a.jpg", "day-1/b.png", "day-2/a.jpg", "night/a.jpg"):
        write(tmp_path / name)
    assert names(f"{tmp_path}/day-*/*.jpg") == ["day-1/a.jpg", "day-2/a.jpg"]


def test_a_single_file_is_a_corpus_of_one(tmp_path: Path) -> None:
    write(tmp_path / "b.jpg")
    assert names(str(write(tmp_path / "a[1].jpg"))) == ["a[1].jpg"]


def test_a_name_that_is_not_utf8_gets_a_uri_that_leads_back_to_it(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    os.close(os.open(name, os.O_CREAT))
    (file,) = find_images(str(tmp_path))
    assert file.uri.startswith("file://")
    file.uri.encode()
    path = local_path(file.uri)
    assert path is not None
    assert os.fsencode(path) == name


@pytest.mark.parametrize("where", ["nowhere", "nowhere/*.jpg", "empty", "empty/*.jpg"])
def test_no_images_is_an_error_that_names_the_place(tmp_path: Path, where: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=where.partition("/")[0]):
        find_images(str(tmp_path / where))


def test_identity_follows_name_and_content_wherever_the_corpus_lies(tmp_path: Path) -> None:
    write(tmp_path / "one/a.jpg", b"same")
    write(tmp_path / "one/b.jpg", b"same")
    write(tmp_path / "two/a.jpg", b"same")
    write(tmp_path / "three/a.jpg", b"other")
    ids = {
        folder: [i.image_id for i in identify(find_images(str(tmp_path / folder)))]
        for folder in ("one", "two", "three")
    }
    assert ids["one"][0] == ids["two"][0]
    assert len({*ids["one"], *ids["three"]}) == 3


def test_a_bucket_lists_its_images_with_size_and_etag(s3_server: str) -> None:
    import fsspec

    s3 = fsspec.filesystem("s3")
    s3.mkdir("inputs")
    s3.pipe_file("inputs/some/a.jpg", b"data")
    s3.pipe_file("inputs/some/deep/b #1?.png", b"more data")
    s3.pipe_file("inputs/some/notes.txt", b"data")
    found = identify(find_images("s3://inputs/some"))
    assert [(f.uri, f.size) for f in found] == [
        ("s3://inputs/some/a.jpg", 4),
        ("s3://inputs/some/deep/b #1?.png", 9),
    ]
    assert found[0].etag == "8d777f385d3dfec8815d20f7496026dc"  # md5 of "data"
    assert [f.uri for f in find_images("s3://inputs/some/*.jpg")] == ["s3://inputs/some/a.jpg"]


def test_a_bucket_that_does_not_exist_is_an_error(s3_server: str) -> None:
    with pytest.raises(ConfigError, match="s3://missing-bucket/x"):
        find_images("s3://missing-bucket/x")
