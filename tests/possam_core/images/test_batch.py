import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.posing import counting
from possam_core.errors import PossamError
from possam_core.images.batch import (
    make_batch,
    make_shortest_edge_batch,
    normalise,
    resize_image,
    resized_size,
    shortest_edge_size,
    stack_images,
)
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


def test_a_batch_is_its_images_resized_one_by_one_and_placed() -> None:
    images = [make_pixels(20, 30), make_pixels(40, 10, seed=1)]
    resized = [resize_image(images[0], (16, 24)), resize_image(images[1], (24, 6))]
    placed, made = stack_images(resized, canvas_hw=(24, 24)), make_batch(images, canvas=24)
    assert placed.resized_hw == made.resized_hw == ((16, 24), (24, 6))
    assert placed.image_hw == made.image_hw == ((20, 30), (40, 10))
    assert torch.equal(placed.pixels, made.pixels)
    assert torch.equal(placed.valid, made.valid)
    assert placed.valid.sum(dim=(1, 2)).tolist() == [16 * 24, 24 * 6]
    assert not (placed.pixels * ~placed.valid[:, None]).any()


def test_an_image_of_the_canvas_size_keeps_its_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_image(image, (6, 9)).pixels.permute(1, 2, 0), image)


def test_the_host_does_not_wait_until_a_gpu_has_a_batch() -> None:
    batch = make_batch([make_pixels(8, 8)], canvas=8)
    with counting() as counts:
        sent = batch.to(torch.device("cuda"))
    assert counts.num_waits == 0
    assert torch.equal(sent.pixels.cpu(), batch.pixels)
    assert torch.equal(sent.valid.cpu(), batch.valid)


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


def test_the_shorter_side_is_reached_unless_the_longer_would_pass_its_bound() -> None:
    assert shortest_edge_size((480, 640), short_side=800, long_side=1333) == (800, 1067)
    assert shortest_edge_size((1080, 1920), short_side=800, long_side=1333) == (750, 1333)
    assert shortest_edge_size((1, 3000), short_side=800, long_side=1333) == (1, 1333)


def test_a_canvas_is_as_large_as_the_next_multiples() -> None:
    image = make_pixels(30, 50)
    batch = make_shortest_edge_batch([image, image], short_side=60, long_side=200, multiple=32)
    assert batch.resized_hw == ((60, 100), (60, 100))
    assert batch.image_hw == ((30, 50), (30, 50))
    assert batch.pixels.shape == (2, 3, 64, 128)
    assert batch.valid.sum(dim=(1, 2)).tolist() == [6000, 6000]
    expected = Image.fromarray(image).resize((100, 60), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(batch.pixels[1, :, :60, :100].permute(1, 2, 0), expected)
    assert not batch.pixels[:, :, 60:].any()
    assert not batch.pixels[:, :, :, 100:].any()


def test_images_of_other_padded_sizes_are_refused_in_one_batch() -> None:
    images = [make_pixels(30, 50), make_pixels(50, 30)]
    with pytest.raises(PossamError, match=r"of one padded size, got \(64, 128\) and \(128, 64\)"):
        make_shortest_edge_batch(images, short_side=60, long_side=200, multiple=32)
    with pytest.raises(PossamError, match="at least one image"):
        make_shortest_edge_batch([], short_side=60, long_side=200, multiple=32)
