"""From an image to the input of a model of transformers, as the configuration beside it says.

This is the library's own way, up to the last pixel of a side, which it cuts off and we round.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import UInt8
from numpy import ndarray

from possam_core.checkpoints.transformers_folder import (
    TransformersFolder,
    input_config_file,
    read_json,
)
from possam_core.errors import CheckpointError
from possam_core.images.batch import (
    ImageBatch,
    padded_size,
    resize_image,
    shortest_edge_size,
    stack_images,
)

BILINEAR = 2  # Pillow's number
GREY_LEVELS = 255
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # where none is given


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """Sizes and colours of the input; padding is black, and counts as image."""

    sides: tuple[int, int]  # shorter and at most longer, or height and width if `is_stretched`
    is_stretched: bool  # every image has the same size
    multiple: int  # of which the sides are, for which images are stretched, not padded
    square: int | None  # side of the canvas; None: the image fills it
    mean: tuple[float, float, float]  # in grey levels
    std: tuple[float, float, float]

    def resized_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of an image on the canvas."""
        if self.is_stretched:
            return padded_size(self.sides, self.multiple)
        short_side, long_side = self.sides
        resized_hw = shortest_edge_size(image_hw, short_side=short_side, long_side=long_side)
        return padded_size(resized_hw, self.multiple)

    def canvas_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the canvas of an image."""
        return self.resized_hw(image_hw) if self.square is None else (self.square, self.square)

    def make_batch(self, images: Sequence[UInt8[ndarray, "_ _ 3"]]) -> ImageBatch:
        """Images with pixels and of one canvas."""
        resized = [
            resize_image(image, self.resized_hw((image.shape[0], image.shape[1])))
            for image in images
        ]
        canvas_hw = self.canvas_hw((images[0].shape[0], images[0].shape[1]))
        batch = stack_images(resized, canvas_hw=canvas_hw)
        return dataclasses.replace(batch, valid=torch.ones_like(batch.valid))


def read_image_input(folder: TransformersFolder) -> ImageInput:
    """What the configuration of the folder says.

    Raises:
        CheckpointError: it asks for what we do not do, or cannot be understood.
    """
    source = str(input_config_file(folder.path))
    content = read_json(input_config_file(folder.path))
    content = content.get("image_processor", content)
    if not isinstance(content, dict):
        raise CheckpointError(
            f"expected settings by name as image_processor in {source}, got {content!r:.80};"
            " download it again"
        )
    if content.get("do_split_image"):
        raise CheckpointError(
            f"expected a panoptic model in {folder.path}, got one that cuts images into windows, as"
            " models for semantic segmentation do; name a panoptic one"
        )
    for key, wanted in (("do_resize", True), ("resample", BILINEAR)):
        if content.get(key, wanted) != wanted:
            raise CheckpointError(
                f"expected {key} {wanted} in {source}, got {content[key]}; no other way is known"
            )
    try:
        factor = content.get("rescale_factor", 1 / GREY_LEVELS)
        factor = factor if content.get("do_rescale", True) else 1.0
        is_normal = content.get("do_normalize", True)
        mean = content.get("image_mean", IMAGENET_MEAN) if is_normal else (0.0, 0.0, 0.0)
        std = content.get("image_std", IMAGENET_STD) if is_normal else (1.0, 1.0, 1.0)
        sides, is_stretched = _sides(content)
        square = folder.config.get("image_size") if folder.model_type == "eomt" else None
        image_input = ImageInput(
            sides=sides,
            is_stretched=is_stretched,
            multiple=int(content.get("size_divisor") or 1),
            square=None if square is None else int(square),
            mean=_three(mean, factor),
            std=_three(std, factor),
        )
        _require_possible(image_input)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(
            f"expected sizes and colours of the input in {source}, but they cannot be read"
            f" ({type(error).__name__}: {error}); download it again"
        ) from error
    if square is not None and max(sides) > square:
        raise CheckpointError(
            f"expected images of at most {square} pixels a side, which the network takes, in"
            f" {source}, got {max(sides)}; correct one of the two"
        )
    return image_input


def _require_possible(image_input: ImageInput) -> None:
    numbers = (*image_input.mean, *image_input.std)
    if not all(map(math.isfinite, numbers)) or min(image_input.std) <= 0:
        raise ValueError("colours are finite, and deviations more than 0")
    if min(*image_input.sides, image_input.multiple) < 1:
        raise ValueError("sides are at least 1 pixel")


def _sides(content: dict[str, Any]) -> tuple[tuple[int, int], bool]:
    size = content["size"]
    if isinstance(size, int):  # as the library wrote it once
        size = {"shortest_edge": size, "longest_edge": content.get("max_size")}
    if "shortest_edge" in size:
        short_side = int(size["shortest_edge"])
        return (short_side, int(size.get("longest_edge") or short_side)), False
    return (int(size["height"]), int(size["width"])), True


def _three(values: Any, factor: float) -> tuple[float, float, float]:
    red, green, blue = (float(value) / factor for value in values)
    return red, green, blue
