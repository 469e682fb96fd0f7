import numpy as np
import pytest
import torch

from possam_core.errors import PossamError
from possam_core.images import make_batch, normalise, resized_size


def test_the_longest_side_fills_the_canvas_and_the_other_keeps_its_ratio() -> None:
    assert resized_size((100, 50), 64) == (64, 32)
    assert resized_size((1, 1000), 64) == (1, 64)


def test_images_lie_at_the_top_left_and_padding_is_not_valid() -> None:
    batch = make_batch([np.full((4, 8, 3), 200, np.uint8)], canvas=8)
    assert batch.valid[0, :4].all()
    assert not batch.valid[0, 4:].any()
    assert (batch.pixels[0, :, :4] == 200).all()
    assert (batch.pixels[0, :, 4:] == 0).all()


def test_padding_is_zero_after_normalising() -> None:
    batch = make_batch([np.full((4, 8, 3), 200, np.uint8)], canvas=8)
    pixels = normalise(batch, torch.tensor([100.0, 100.0, 100.0]), torch.tensor([50.0, 50.0, 50.0]))
    assert (pixels[0, :, :4] == 2).all()
    assert (pixels[0, :, 4:] == 0).all()


def test_a_read_only_image_is_taken_and_left_alone() -> None:
    image = np.full((4, 4, 3), 9, np.uint8)
    image.flags.writeable = False
    make_batch([image], canvas=8)
    assert (image == 9).all()


def test_an_empty_batch_or_image_is_refused() -> None:
    with pytest.raises(PossamError, match="at least one image"):
        make_batch([], canvas=8)
    with pytest.raises(PossamError, match="with pixels"):
        make_batch([np.zeros((0, 4, 3), np.uint8)], canvas=8)
