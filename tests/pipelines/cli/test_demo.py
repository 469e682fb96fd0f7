"""Tests of pipelines.cli.demo."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from pipelines.cli.demo import TREE, damage_corpus, run_demo
from possam_core.evaluation.coco_panoptic import read_annotation, read_ground_truth
from possam_core.images.decode import ImageError, ImageErrorCode, decode_image
from possam_core.playground import write_corpus


def outcome(data: bytes) -> ImageErrorCode | None:
    try:
        decode_image(data)
    except ImageError as error:
        return error.code
    return None


def test_damaging_gives_three_errors_and_one_image_that_can_be_converted(tmp_path):
    corpus = tmp_path / "corpus"
    write_corpus(corpus, num_images=8, seed=1)
    damaged = damage_corpus(corpus)
    outcomes = {path.name: outcome(path.read_bytes()) for path in (corpus / "images").iterdir()}
    assert len(outcomes) == 8
    assert [outcomes[name] for name in damaged] == [
        ImageErrorCode.EMPTY,
        ImageErrorCode.TRUNCATED,
        ImageErrorCode.NOT_AN_IMAGE,
        None,
    ]
    assert sum(code is not None for code in outcomes.values()) == 3


def test_the_16_bit_image_shows_the_grey_version_of_its_scene(tmp_path):
    corpus, twin = tmp_path / "corpus", tmp_path / "twin"
    for folder in (corpus, twin):
        write_corpus(folder, num_images=4, seed=1)
    name = list(damage_corpus(corpus))[-1]
    path = corpus / "images" / name
    assert Image.open(path).mode == "I;16"
    grey = np.asarray(Image.open(twin / "images" / name.replace("png", "jpg")).convert("L"))
    np.testing.assert_array_equal(decode_image(path.read_bytes()).pixels[..., 0], grey)


def test_the_remaining_ground_truth_is_valid(tmp_path):
    corpus = tmp_path / "corpus"
    write_corpus(corpus, num_images=6, seed=1)
    damaged = damage_corpus(corpus)
    truth = read_ground_truth(corpus / "panoptic.json")
    assert len(truth.images) == 2 == len(list((corpus / "panoptic").iterdir()))
    assert not {image.file_name for image in truth.images} & set(damaged)
    for image in truth.images:
        read_annotation(image)
    listed = json.loads((corpus / "panoptic.json").read_text())["images"]
    assert {image["file_name"] for image in listed} == {i.file_name for i in truth.images}


def test_the_demo_labels_evaluates_shows_and_can_be_run_again(tmp_path):
    output = tmp_path / "demo"
    console = Console(file=io.StringIO(), width=150)
    run_demo(output, console=console, num_images=8)
    first = console.file.getvalue()  # type: ignore[attr-defined]
    assert "not_an_image" in first
    assert "Panoptic quality" in first
    assert str(output / "run" / "report" / "index.html") in first.replace("\n", "")
    labels = {p: p.read_bytes() for p in (output / "run" / "data").rglob("*.parquet")}

    files = {path for path in output.rglob("*") if path.is_file()}
    for pattern, _ in TREE:
        found = set(output.glob(pattern))
        assert found, f"nothing matches {pattern}"
        files -= found
    assert not files, "the tree that the demo prints does not explain these"

    run_demo(output, console=console, num_images=8)
    second = console.file.getvalue().removeprefix(first)  # type: ignore[attr-defined]
    assert "nothing is left" in second
    assert labels == {p: p.read_bytes() for p in (output / "run" / "data").rglob("*.parquet")}


@pytest.fixture(autouse=True)
def _few_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
