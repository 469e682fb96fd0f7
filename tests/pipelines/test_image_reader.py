from dataclasses import replace
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import GenericError

from pipelines import image_reader
from pipelines.image_reader import ImageReader
from pipelines.inputs import InputImage, find_images, identify
from pipelines.store import open_bucket
from possam_core.image_decode import MAX_BYTES, ImageError


def plan(folder: Path, data: bytes = b"data") -> InputImage:
    (folder / "a.jpg").write_bytes(data)
    (image,) = identify(find_images(str(folder)))
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
    (image,) = identify(find_images("s3://reader"))
    assert ImageReader().read(image) == b"data"
    obstore.put(_bucket("reader"), "a.jpg", b"DATA")
    assert code_of(image) == "input_changed"
    assert code_of(replace(image, uri="s3://reader/b.jpg")) == "not_found"
    assert code_of(replace(image, uri="s3://reader/a//b.jpg")) == "bad_key"


def test_a_body_shorter_than_announced_is_tried_again_and_then_named(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ShortReply:
        meta = {"size": 4, "e_tag": '"8d777f385d3dfec8815d20f7496026dc"'}  # noqa: RUF012

        def bytes(self) -> bytes:
            return b"dat"

    monkeypatch.setattr(image_reader, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(image_reader.obstore, "get", lambda *_: ShortReply())
    etag = "8d777f385d3dfec8815d20f7496026dc"
    image = InputImage(image_id="1", uri="s3://reader/a.jpg", size=4, etag=etag)
    assert code_of(image) == "corrupt_read"


def test_transient_trouble_raises_instead_of_becoming_a_row(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def fail(*_: object) -> None:
        tries.append(1)
        raise GenericError("503 Slow Down")

    monkeypatch.setattr(image_reader, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(image_reader.obstore, "get", fail)
    image = InputImage(image_id="1", uri="s3://reader/a.jpg", size=4, etag="x")
    with pytest.raises(GenericError):
        ImageReader().fetch(image)
    assert len(tries) == image_reader.READ_TRIES


def _bucket(name: str) -> obstore.store.ObjectStore:
    import fsspec

    fsspec.filesystem("s3").makedirs(name, exist_ok=True)
    return open_bucket(name)
