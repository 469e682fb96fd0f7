"""Upright RGB images in, one padded uint8 batch out; normalised on the device, once per encoder.

Axes: B images, H W pixels of an image, S side of the square canvas in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from possam_core.errors import PossamError


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Images resized to one canvas, at its top left."""

    pixels: UInt8[Tensor, "B 3 S S"]
    valid: Bool[Tensor, "B S S"]  # False where the canvas is padding
    resized_hw: tuple[tuple[int, int], ...]  # part of the canvas that each image fills
    image_hw: tuple[tuple[int, int], ...]  # original size of each image

    def to(self, device: torch.device) -> "ImageBatch":
        """The same batch on `device`."""
        return ImageBatch(
            self.pixels.to(device), self.valid.to(device), self.resized_hw, self.image_hw
        )


def resized_size(image_hw: tuple[int, int], canvas: int) -> tuple[int, int]:
    """Height and width once the longest side is `canvas` pixels; never below one pixel."""
    scale = canvas / max(image_hw)
    height, width = (max(1, int(side * scale + 0.5)) for side in image_hw)
    return height, width


def make_batch(images: Sequence[UInt8[ndarray, "_ _ 3"]], *, canvas: int) -> ImageBatch:
    """Resize each image's longest side to `canvas` (bilinear, antialiased) and pad with zeros.

    Raises:
        PossamError: there is no image, or one has no pixels.
    """
    if not images or any(0 in image.shape for image in images):
        raise PossamError(f"expected at least one image with pixels, got {len(images)} images")
    pixels = torch.zeros((len(images), 3, canvas, canvas), dtype=torch.uint8)
    valid = torch.zeros((len(images), canvas, canvas), dtype=torch.bool)
    sizes = []
    for i, image in enumerate(images):
        height, width = resized_size((image.shape[0], image.shape[1]), canvas)
        chw = _as_tensor(image).permute(2, 0, 1)[None]
        pixels[i, :, :height, :width] = functional.interpolate(
            chw, size=(height, width), mode="bilinear", antialias=True
        )[0]
        valid[i, :height, :width] = True
        sizes.append((height, width))
    return ImageBatch(
        pixels, valid, tuple(sizes), tuple((im.shape[0], im.shape[1]) for im in images)
    )


def _as_tensor(image: UInt8[ndarray, "H W 3"]) -> UInt8[Tensor, "H W 3"]:
    """The image, copied only if torch cannot share it: read-only, or with negative strides."""
    if not image.flags.writeable or min(image.strides) < 0:
        return torch.tensor(np.ascontiguousarray(image))
    return torch.from_numpy(image)


def normalise(
    batch: ImageBatch, mean: Float[Tensor, " 3"], std: Float[Tensor, " 3"]
) -> Float[Tensor, "B 3 S S"]:
    """Subtract `mean` and divide by `std` (both in grey levels 0-255); padding becomes zero."""
    scaled = (batch.pixels.to(mean.dtype) - mean[:, None, None]) / std[:, None, None]
    return scaled * batch.valid[:, None]
