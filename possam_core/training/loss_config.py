"""Weights of the losses, and where masks are compared."""

from dataclasses import dataclass
from typing import Annotated

from possam_core.settings import Setting, require_valid

MAX_WEIGHT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Weights of the terms, in the matching cost and in the loss alike."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    classes: Annotated[
        float, Setting("weight of the classes' cross-entropy", ge=0, le=MAX_WEIGHT)
    ] = 2.0
    mask_bce: Annotated[
        float, Setting("weight of the masks' cross-entropy", ge=0, le=MAX_WEIGHT)
    ] = 5.0
    dice: Annotated[float, Setting("weight of the masks' dice", ge=0, le=MAX_WEIGHT)] = 5.0
    iou: Annotated[
        float,
        Setting(
            "weight of the predicted IoU's squared error; in the loss alone", ge=0, le=MAX_WEIGHT
        ),
    ] = 1.0
    void: Annotated[
        float,
        Setting("weight of the void class in the classes' cross-entropy", ge=0, le=MAX_WEIGHT),
    ] = 0.1
    num_points: Annotated[
        int | None,
        Setting(
            "points at which masks are compared",
            ge=1,
            le=10_000_000,
            unset="the whole mask grid",
            example=12544,
        ),
    ] = None

    def __post_init__(self) -> None:
        require_valid(self, prefix="loss.")
