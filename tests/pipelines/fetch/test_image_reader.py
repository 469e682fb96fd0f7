import os
from dataclasses import replace
from pathlib import Path

import obstore
import pytest

from pipelines.corpus.image import InputImage
from pipelines.fetch.image_reader import ImageReader
from pipelines.storage.store import open_bucket
from possam_core.images.decode import MAX_BYTES, ImageError
from tests.factories import list_images


def plan(folder: Path, data: bytes = b"data") -> InputImage:
    (folder / "a.jpg").write_bytes(data)
    (image,) = list_images(str(folder))
    return image


def code_of(image: InputImage) -> str:
    with pytest.raises(ImageError) as caught:
        ImageReader().read(image)
    return caught.value.code.value


def test_an_unchanged_file_is_read(tmp_path: Path) -> None:
    assert ImageReader().read(plan(tmp_path)) == b"data"


@pytest.mark.parametrize("content", [b"DATA", b"longer data"])
def test_another_content_or_size_is_input_changed(tmp_path: Path, content: bytes) -> None:
    image = plan(tmp_path)
    (tmp_path / "a.jpg").write_bytes(content)
    assert code_of(image) == "input_changed"


def test_a_file_that_went_is_not_found(tmp_path: Path) -> None:
    image = plan(tmp_path)
    (tmp_path / "a.jpg").unlink()
    assert code_of(image) == "not_found"


def test_a_file_above_the_byte_limit_is_not_even_opened(tmp_path: Path) -> None:
    assert code_of(replace(plan(tmp_path), uri="/none", size=MAX_BYTES + 1)) == "too_large"


def test_objects_are_checked_against_the_plan(s3_server: str) -> None:
    obstore.put(_bucket("reader"), "a.jpg", b"data")
    (image,) = list_images("s3://reader")
    assert ImageReader().read(image) == b"data"
    obstore.put(_bucket("reader"), "a.jpg", b"DATA")
    assert code_of(image) == "input_changed"
    assert code_of(replace(image, uri="s3://reader/b.jpg")) == "not_found"
    assert code_of(replace(image, uri="s3://reader/a//b.jpg")) == "bad_key"


def test_a_link_and_a_pipe_are_not_read(tmp_path: Path) -> None:
    image = plan(tmp_path)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert code_of(replace(image, uri=str(tmp_path / "link.jpg"))) == "not_found"
    assert code_of(replace(image, uri=str(tmp_path / "pipe.jpg"), size=0)) == "not_found"


def test_what_the_plan_does_not_know_is_not_checked(tmp_path: Path, s3_server: str) -> None:
    unknown = replace(plan(tmp_path), size=None, etag=None)
    (tmp_path / "a.jpg").write_bytes(b"other data")
    assert ImageReader().read(unknown) == b"other data"
    obstore.put(_bucket("reader"), "unknown.jpg", b"any")
    assert ImageReader().read(replace(unknown, uri="s3://reader/unknown.jpg")) == b"any"


@pytest.mark.parametrize("key", ["/a.jpg", "a.jpg/", "//a.jpg"])
def test_a_key_with_a_slash_at_an_end_is_not_read_as_the_object_without_it(
    s3_server: str, tmp_path: Path, key: str
) -> None:
    obstore.put(_bucket("reader"), "a.jpg", b"another object")
    listed_by_people = replace(plan(tmp_path), size=None, etag=None, uri=f"s3://reader/{key}")
    assert code_of(listed_by_people) == "bad_key"
    assert code_of(replace(listed_by_people, container=f"s3://reader/{key}", offset=0)) == "bad_key"


def test_web_addresses_are_refused_unless_their_host_is_allowed(tmp_path: Path) -> None:
    assert code_of(replace(plan(tmp_path), uri="https://example.org/a.jpg")) == "bad_key"


def test_images_alone_are_units_of_one(tmp_path: Path) -> None:
    image = plan(tmp_path)
    assert list(ImageReader().units([image, image])) == [[image], [image]]


def _bucket(name: str) -> obstore.store.ObjectStore:
    import fsspec

    fsspec.filesystem("s3").makedirs(name, exist_ok=True)
    return open_bucket(name)
