"""Upright RGB images in, one padded uint8 batch out; normalised on the device, once per encoder.

Axes: B images, H W pixels of an image or of the canvas.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from possam_core.device_copies import send
from possam_core.errors import PossamError


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Images resized to one canvas, at its top left."""

    pixels: UInt8[Tensor, "B 3 H W"]
    valid: Bool[Tensor, "B H W"]  # False where the canvas is padding
    resized_hw: tuple[tuple[int, int], ...]  # part of the canvas that each image fills
    image_hw: tuple[tuple[int, int], ...]  # original size of each image

    def to(self, device: torch.device) -> "ImageBatch":
        """The same batch on `device`; the host does not wait until a GPU has it."""
        pixels, valid = (send(tensor, device) for tensor in (self.pixels, self.valid))
        return ImageBatch(pixels, valid, self.resized_hw, self.image_hw)


@dataclass(frozen=True, slots=True)
class ResizedImage:
    """An image as large as on its canvas."""

    pixels: UInt8[Tensor, "3 h w"]
    image_hw: tuple[int, int]  # original size

    @property
    def resized_hw(self) -> tuple[int, int]:
        """Height and width on the canvas."""
        return self.pixels.shape[1], self.pixels.shape[2]


def resized_size(image_hw: tuple[int, int], canvas: int) -> tuple[int, int]:
    """Height and width once the longest side is `canvas` pixels; never below one pixel."""
    scale = canvas / max(image_hw)
    height, width = (max(1, int(side * scale + 0.5)) for side in image_hw)
    return height, width


def shortest_edge_size(
    image_hw: tuple[int, int], *, short_side: int, long_side: int
) -> tuple[int, int]:
    """Height and width once the shorter side is `short_side`; never below one pixel.

    If the longer side would pass `long_side`, it becomes that instead.
    """
    scale = short_side / min(image_hw)
    if max(image_hw) * scale > long_side:
        scale = long_side / max(image_hw)
    height, width = (max(1, int(side * scale + 0.5)) for side in image_hw)
    return height, width


def padded_size(resized_hw: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Height and width of the canvas: the next multiples of `multiple` pixels."""
    height, width = (-(-side // multiple) * multiple for side in resized_hw)
    return height, width


def make_batch(
    images: Sequence[UInt8[ndarray, "_ _ 3"] | ResizedImage], *, canvas: int
) -> ImageBatch:
    """Resize each image's longest side to `canvas` (bilinear, antialiased) and pad with zeros.

    Those that `fit_to_canvas` has resized already are taken as they are.

    Raises:
        PossamError: there is no image, or one has no pixels.
    """
    require_pixels(images)
    resized = [i if isinstance(i, ResizedImage) else fit_to_canvas(i, canvas) for i in images]
    return stack_images(resized, canvas_hw=(canvas, canvas))


def fit_to_canvas(image: UInt8[ndarray, "_ _ 3"], canvas: int) -> ResizedImage:
    """Resize an image with pixels so that its longest side is `canvas`."""
    return resize_image(image, resized_size((image.shape[0], image.shape[1]), canvas))


def resize_image(image: UInt8[ndarray, "_ _ 3"], resized_hw: tuple[int, int]) -> ResizedImage:
    """Resize an image with pixels to a height and width (bilinear, antialiased).

    The costly part of a batch, which any thread can do for any image.
    """
    pixels = _as_tensor(image).permute(2, 0, 1)
    if resized_hw != pixels.shape[1:]:
        pixels = functional.interpolate(
            pixels[None], size=resized_hw, mode="bilinear", antialias=True
        )[0]
    return ResizedImage(pixels.contiguous(), (image.shape[0], image.shape[1]))


def stack_images(
    images: Sequence[ResizedImage], *, canvas_hw: tuple[int, int], is_pinned: bool = False
) -> ImageBatch:
    """Place images at the top left of one canvas each, and pad with zeros.

    Args:
        images: none larger than the canvas.
        canvas_hw: height and width of the canvas.
        is_pinned: in memory that a GPU copies from by itself; needs a GPU.
    """
    height, width = canvas_hw
    pixels = torch.empty((len(images), 3, height, width), dtype=torch.uint8, pin_memory=is_pinned)
    valid = torch.empty((len(images), height, width), dtype=torch.bool, pin_memory=is_pinned)
    for image, on_canvas, is_image in zip(images, pixels, valid, strict=True):
        bottom, right = image.resized_hw
        for target, value in ((on_canvas, image.pixels), (is_image, True)):
            target[..., :bottom, :right] = value
            target[..., :bottom, right:] = 0
            target[..., bottom:, :] = 0
    return ImageBatch(
        pixels, valid, tuple(i.resized_hw for i in images), tuple(i.image_hw for i in images)
    )


def make_shortest_edge_batch(
    images: Sequence[UInt8[ndarray, "_ _ 3"]], *, short_side: int, long_side: int, multiple: int
) -> ImageBatch:
    """Resize each image to `shortest_edge_size` (Pillow's bilinear), pad to `multiple` with zeros.

    Raises:
        PossamError: there is no image, one has no pixels, or their canvases are not of one size.
    """
    require_pixels(images)
    image_hw = [(image.shape[0], image.shape[1]) for image in images]
    sizes = [shortest_edge_size(hw, short_side=short_side, long_side=long_side) for hw in image_hw]
    canvas_hw = padded_size(sizes[0], multiple)
    if others := {padded_size(size, multiple) for size in sizes} - {canvas_hw}:
        raise PossamError(
            f"expected images of one padded size, got {canvas_hw} and {others.pop()}; label them"
            " one by one"
        )
    resized = [resize_by_pillow(i, size) for i, size in zip(images, sizes, strict=True)]
    return stack_images(resized, canvas_hw=canvas_hw)


def resize_by_pillow(image: UInt8[ndarray, "_ _ 3"], resized_hw: tuple[int, int]) -> ResizedImage:
    """As `resize_image`, by Pillow's bilinear filter."""
    height, width = resized_hw
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    chw = torch.tensor(np.asarray(resized)).permute(2, 0, 1).contiguous()
    return ResizedImage(chw, (image.shape[0], image.shape[1]))


def require_pixels(images: Sequence[UInt8[ndarray, "_ _ 3"] | ResizedImage]) -> None:
    """Return if there is an image, and all have pixels.

    Raises:
        PossamError: otherwise.
    """
    shapes = [i.pixels.shape if isinstance(i, ResizedImage) else i.shape for i in images]
    if not images or any(0 in shape for shape in shapes):
        raise PossamError(f"expected at least one image with pixels, got {len(images)} images")


def _as_tensor(image: UInt8[ndarray, "H W 3"]) -> UInt8[Tensor, "H W 3"]:
    """The image, copied only if torch cannot share it: read-only, or with negative strides."""
    if not image.flags.writeable or min(image.strides) < 0:
        return torch.tensor(np.ascontiguousarray(image))
    return torch.from_numpy(image)


def normalise(
    batch: ImageBatch, mean: Float[Tensor, " 3"], std: Float[Tensor, " 3"]
) -> Float[Tensor, "B 3 H W"]:
    """Subtract `mean` and divide by `std` (both in grey levels 0-255); padding becomes zero."""
    scaled = (batch.pixels.to(mean.dtype) - mean[:, None, None]) / std[:, None, None]
    return scaled * batch.valid[:, None]
