"""Which masks become segments: the settings of the merge."""

from dataclasses import dataclass
from typing import Annotated, Literal

from possam_core.settings import Setting, require_valid

MergeRules = Literal["possam", "mask2former"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConfig:
    """Which masks become segments.

    The rules of Mask2Former, which FC-CLIP uses, too, also drop a mask that is void rather than
    any class, ask for a score above the threshold, number masks as the queries come, and count
    towards a mask's share the pixels where it is the strongest outside of itself.
    """

    rules: Annotated[MergeRules, Setting("whose rules for dropping masks")] = "possam"
    object_threshold: Annotated[float, Setting("least score of a mask", ge=0, le=1)] = 0.1
    overlap_threshold: Annotated[
        float, Setting("least share of its own pixels that a mask must win", ge=0, le=1)
    ] = 0.6
    eta: Annotated[
        float, Setting("exponent of the predicted IoU in a mask's score; 0 ignores it", ge=0)
    ] = 1.0

    def __post_init__(self) -> None:
        require_valid(self, prefix="merge.")
