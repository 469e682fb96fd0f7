"""Images become the input that the library would have made, but for what it gets wrong."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from possam_core.checkpoints.transformers_folder import TransformersFolder, find_transformers
from possam_core.errors import CheckpointError
from possam_core.images.batch import normalise
from possam_core.teachers.closed.image_input import read_image_input
from possam_core.vocabulary.builtin import find_vocabulary
from tests.closed_models import MODEL_TYPES, write_input, write_model

NAMES = [entry.name for entry in find_vocabulary("cityscapes").classes]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TransformersFolder]:
    place = tmp_path_factory.mktemp("models")
    for model_type in MODEL_TYPES:
        write_model(place / model_type, model_type, NAMES)
    found = {m: find_transformers(str(place / m)) for m in MODEL_TYPES}
    return {m: folder for m, folder in found.items() if folder is not None}


@pytest.mark.parametrize("model_type", ["eomt", "mask2former"])
@pytest.mark.parametrize("image_hw", [(60, 90), (90, 60), (48, 48), (20, 35)])
def test_the_input_is_the_library_s(
    folders: dict[str, TransformersFolder], model_type: str, image_hw: tuple[int, int]
) -> None:
    from transformers import AutoImageProcessor

    folder = folders[model_type]
    image = np.random.default_rng(0).integers(0, 256, (*image_hw, 3), dtype=np.uint8)
    processor = AutoImageProcessor.from_pretrained(folder.path)
    theirs = processor(images=image, return_tensors="pt")["pixel_values"]
    image_input = read_image_input(folder)
    batch = image_input.make_batch([image])
    ours = normalise(batch, torch.tensor(image_input.mean), torch.tensor(image_input.std))
    assert ours.shape == theirs.shape
    one_level = 1 / (255 * 0.224)
    assert (ours - theirs).abs().max() <= 1.01 * one_level


def test_oneformer_s_input_is_read_without_the_file_that_the_library_would_download(
    folders: dict[str, TransformersFolder],
) -> None:
    image_input = read_image_input(folders["oneformer"])
    assert image_input.resized_hw((480, 640)) == (48, 64)
    assert image_input.canvas_hw((200, 800)) == (24, 96)
    assert image_input.mean == pytest.approx((123.675, 116.28, 103.53))
    assert image_input.std == pytest.approx((58.395, 57.12, 57.375))


def test_sizes_are_read_in_every_form_that_the_library_has_written(
    folders: dict[str, TransformersFolder],
) -> None:
    folder = folders["mask2former"]
    forms = {
        (48, 64): {"size": 48, "max_size": 96},
        (40, 80): {"size": {"height": 40, "width": 80}},
    }
    for resized_hw, form in forms.items():
        write_input(folder.path, "mask2former", **form, size_divisor=0)
        assert read_image_input(folder).resized_hw((300, 400)) == resized_hw
    write_input(folder.path, "mask2former", do_rescale=False, do_normalize=False)
    assert read_image_input(folder).std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"do_split_image": True}, "got one that cuts images into windows"),
        ({"resample": 3}, "expected resample 2"),
        ({"do_resize": False}, "expected do_resize True"),
        ({"size": {"longest": 3}}, "KeyError: 'height'"),
        ({"image_mean": 0.5}, "TypeError"),
        ({"image_mean": [0.5, 0.5, float("nan")]}, "colours are finite"),
        ({"image_std": [0.2, 0, 0.2]}, "deviations more than 0"),
        ({"rescale_factor": 0}, "ZeroDivisionError"),
        ({"size": {"shortest_edge": 0, "longest_edge": 0}}, "sides are at least 1 pixel"),
        ({"size_divisor": -4}, "sides are at least 1 pixel"),
        ({"image_processor": [1]}, r"settings by name as image_processor .*got \[1\]"),
        ({"size": {"shortest_edge": 80, "longest_edge": 80}}, "at most 64 pixels a side"),
    ],
)
def test_an_input_that_we_cannot_make_is_refused(
    folders: dict[str, TransformersFolder], changes: dict, sentence: str, tmp_path: Path
) -> None:
    write_input(tmp_path, "eomt", **changes)
    with pytest.raises(CheckpointError, match=sentence):
        read_image_input(dataclasses.replace(folders["eomt"], path=tmp_path))
