"""Where an image lies on the canvas of its masks, and bringing these to the image's size.

Axes: N masks, h w mask grid, H W pixels of the image.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where the image lies on the canvas that the masks cover."""

    canvas_hw: tuple[int, int]  # in pixels
    resized_hw: tuple[int, int]  # the image's part of it, at the top left
    image_hw: tuple[int, int]  # the image's own size


def resize_logits(mask_logits: Float[Tensor, "N h w"], frame: Frame) -> Float[Tensor, "N H W"]:
    """The logits at the image's size: bilinear, to the canvas first and then to the image.

    Memory: 4 bytes times masks times pixels, of the canvas or the image.
    """
    height, width = frame.resized_hw
    on_canvas = resize_bilinear(mask_logits.float(), frame.canvas_hw)
    return resize_bilinear(on_canvas[:, :height, :width], frame.image_hw)


def resize_bilinear(
    logits: Float[Tensor, "N _ _"], size_hw: tuple[int, int]
) -> Float[Tensor, "N _ _"]:
    """At another size; the very tensor if it has that size, where torch would copy it."""
    if logits.shape[-2:] == size_hw:
        return logits
    return functional.interpolate(logits[None], size=size_hw, mode="bilinear", align_corners=False)[
        0
    ]
