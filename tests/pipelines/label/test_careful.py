"""Careful mode, with a stand-in for the child's work: a real model cannot be made to crash."""

from pathlib import Path

import pytest

from pipelines.corpus.image import InputImage
from pipelines.fetch.image_reader import ImageReader
from pipelines.label import careful
from pipelines.label.careful import CarefulLabeller
from possam_core.errors import PossamError
from tests.factories import list_images

# Runs in a child process, so it is a module of its own, found through sys.path.
STAND_IN = """
import os, time
import pipelines.fetch.image_reader  # what a batch is made of: unpickling one must not wait for it

def serve(pipe, load, consistency_share):
    if load == "broken":
        os._exit(1)
    pipe.send(True)
    while True:
        try:
            batch = pipe.recv()
        except EOFError:
            return
        if any(f.data == b"kill" for f in batch):
            os._exit(1)
        if any(f.data == b"stall" for f in batch):
            time.sleep(60)
        if len(batch) > 1 and sum(f.data == b"heavy" for f in batch) > 1:
            os._exit(1)
        pipe.send([f.data if isinstance(f.data, bytes) else f.data.code.value for f in batch])
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/stand_in_for_careful.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    import stand_in_for_careful

    monkeypatch.setattr(careful, "_serve", stand_in_for_careful.serve)


def corpus(folder: Path, *contents: bytes) -> list[InputImage]:
    (folder / "images").mkdir()
    for number, content in enumerate(contents):
        (folder / f"images/{number:02d}.jpg").write_bytes(content)
    return list_images(str(folder / "images"))


def labels(images: list[InputImage], model: str = "tiny") -> list[object]:
    return list(CarefulLabeller(model, ImageReader()).rows(images))


def test_what_kills_the_child_is_poison_and_the_others_get_their_rows(
    stand_in: None, tmp_path: Path
) -> None:
    images = corpus(tmp_path, b"a", b"kill", b"c", b"kill", *[b"x"] * 5)
    assert labels(images) == [b"a", "poison", b"c", "poison", *[b"x"] * 5]


def test_what_stalls_the_child_is_a_timeout(
    stand_in: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(careful, "IMAGE_TIMEOUT_S", 3.0)
    assert labels(corpus(tmp_path, b"a", b"stall")) == [b"a", "decode_timeout"]


def test_an_image_that_cannot_be_read_is_named_as_ever(stand_in: None, tmp_path: Path) -> None:
    images = corpus(tmp_path, b"a", b"b")
    Path(images[1].uri).unlink()
    assert labels(images) == [b"a", "not_found"]


def test_a_batch_that_dies_by_no_single_image_raises(stand_in: None, tmp_path: Path) -> None:
    with pytest.raises(PossamError, match="killed"):
        labels(corpus(tmp_path, b"heavy", b"heavy"))


def test_a_child_that_cannot_load_the_model_blames_no_image(stand_in: None, tmp_path: Path) -> None:
    with pytest.raises(PossamError, match="loads the model"):
        labels(corpus(tmp_path, b"a"), model="broken")
