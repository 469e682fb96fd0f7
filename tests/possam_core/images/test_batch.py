import numpy as np
import pytest
import torch
from PIL import Image

from possam_core.errors import PossamError
from possam_core.images.batch import make_batch, normalise, resized_size
from tests.factories import make_pixels


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


def test_a_read_only_image_is_accepted_and_not_changed() -> None:
    image = np.full((4, 4, 3), 9, np.uint8)
    image.flags.writeable = False
    make_batch([image], canvas=8)
    assert (image == 9).all()


def test_an_empty_batch_or_image_is_refused() -> None:
    with pytest.raises(PossamError, match="at least one image"):
        make_batch([], canvas=8)
    with pytest.raises(PossamError, match="with pixels"):
        make_batch([np.zeros((0, 4, 3), np.uint8)], canvas=8)


@pytest.mark.parametrize("image_hw", [(48, 64), (300, 200)])
def test_pixels_lie_within_one_grey_level_of_pillows(image_hw: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(-20, 21, (*image_hw, 3))
    image = (make_pixels(*image_hw) + noise).clip(0, 255).astype(np.uint8)
    batch = make_batch([image], canvas=96)
    height, width = batch.resized_hw[0]
    expected = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    ours = batch.pixels[0, :, :height, :width].permute(1, 2, 0).numpy()
    assert np.abs(ours.astype(int) - np.asarray(expected).astype(int)).max() <= 1


def test_a_view_with_negative_strides_or_of_another_image_keeps_its_pixels() -> None:
    image = make_pixels(8, 8)
    for view in (image[:, ::-1], image[::-1], image.transpose(1, 0, 2), image[..., ::-1]):
        batch = make_batch([view], canvas=8)
        np.testing.assert_array_equal(batch.pixels[0].permute(1, 2, 0), view)
