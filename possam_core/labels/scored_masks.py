"""What a network says of one image: masks, the classes of each, and how sure it is of them.

Axes: Q mask queries, N chosen masks, K classes, h w mask grid.
"""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float, Int64
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredMasks:
    """A network's output for one image; what it does not estimate is None, and never made up."""

    mask_logits: Float[Tensor, "Q h w"]  # over the canvas
    class_probs: Float[Tensor, "Q K"]  # without void, in [0, 1]
    void_probs: Float[Tensor, " Q"]
    iou_scores: Float[Tensor, " Q"] | None  # predicted IoU
    clip_agrees: Bool[Tensor, " Q"] | None  # the trained classifier and CLIP name the same class
    is_distribution: bool = True  # class_probs hold all classes; False: a score of the best alone
    are_masks_soft: bool = True  # mask_logits are more than inside and outside

    def scores(self, eta: float) -> Float[Tensor, " Q"]:
        """How much each mask deserves its pixels: its presence times its best class."""
        best = self.class_probs.amax(dim=-1)
        return presence(self.iou_scores, self.void_probs, eta=eta) * best

    def keep(self, chosen: Int64[Tensor, " N"]) -> "ScoredMasks":
        """The masks at `chosen` alone, in that order."""
        return replace(
            self,
            mask_logits=self.mask_logits[chosen],
            class_probs=self.class_probs[chosen],
            void_probs=self.void_probs[chosen],
            iou_scores=None if self.iou_scores is None else self.iou_scores[chosen],
            clip_agrees=None if self.clip_agrees is None else self.clip_agrees[chosen],
        )


def presence(
    iou_scores: Float[Tensor, " N"] | None, void_probs: Float[Tensor, " N"], *, eta: float
) -> Float[Tensor, " N"]:
    """How surely each mask is of something: IoU^eta * (1 - void); without IoU, 1 - void."""
    if iou_scores is None:
        return 1 - void_probs
    return iou_scores.clamp(min=0) ** eta * (1 - void_probs)
