"""The content of annotators' files, independent of their format.

Axes: H W pixels of the image.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool
from numpy import ndarray

from possam_core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Pixels that an annotator gave to one class."""

    category_name: str
    is_crowd: bool
    mask: Bool[ndarray, "H W"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedImage:
    """One image of an annotators' file, whose regions are read on demand."""

    name: str  # address of the image in the file
    image_id: str | None  # in the run; None: the image is found by its name
    read_regions: Callable[[tuple[int, int]], list[Region]]  # of an image of that height and width


def refuse(image: str, sentence: str, remedy: str) -> ConfigError:
    """The error for an image whose annotation cannot be used."""
    return ConfigError(f"{image}: {sentence}; {remedy}")


def other_size(image: str, found_hw: tuple[int, ...], image_hw: tuple[int, int]) -> ConfigError:
    """The error for an annotation whose size is not that of the image."""
    return refuse(
        image,
        f"expected an annotation of {image_hw[1]} x {image_hw[0]} pixels, got one of"
        f" {found_hw[1]} x {found_hw[0]}",
        "annotate the upright image at its full size",
    )
