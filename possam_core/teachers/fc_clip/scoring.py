"""FC-CLIP's class probabilities: what training has seen is trusted to the learned classifier.

Axes: B images, Q mask queries, K classes.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from possam_core.mase import MaseConfig, geometric_ensemble
from possam_core.model import MaskClassification
from possam_core.settings import Setting, require_valid


@dataclass(frozen=True, slots=True, kw_only=True)
class FcClipScoring:
    """How the two classifications become one; as it stands, FC-CLIP's."""

    alpha: Annotated[float, Setting("weight of CLIP for classes seen in training", ge=0, le=1)] = (
        0.4
    )
    beta: Annotated[float, Setting("weight of CLIP for all others", ge=0, le=1)] = 0.8
    counts_empty_masks: Annotated[
        bool, Setting("ask CLIP also about masks without a cell on its map; all get one answer")
    ] = True
    void_discount: Annotated[
        float, Setting("how much less void counts where CLIP is sure of a class", ge=0, le=1)
    ] = 0.0

    def __post_init__(self) -> None:
        require_valid(self, prefix="scoring.")


FC_CLIP_SCORING = FcClipScoring()
OVRCOAT_SCORING = FcClipScoring(void_discount=0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class FcClipScores:
    """Probabilities of masks; P (1 - void) and void sum to one."""

    class_probs: Float[Tensor, "B Q K"]  # P, without void
    void_probs: Float[Tensor, "B Q"]
    clip_agrees: Bool[Tensor, "B Q"]  # both name the same class


def score_masks(
    result: MaskClassification,
    clip_logits: Float[Tensor, "B Q K"],
    is_seen: Bool[Tensor, " K"],
    config: FcClipScoring,
) -> FcClipScores:
    """Probabilities of classes and of void.

    Args:
        result: of the network.
        clip_logits: frozen CLIP's scaled logits.
        is_seen: classes that share a name with the training vocabulary.
        config: weights.
    """
    own_logits = result.class_logits[..., :-1]
    has_clip = torch.ones_like(result.has_clip) if config.counts_empty_masks else result.has_clip
    probs = geometric_ensemble(
        own_logits,
        clip_logits,
        is_seen[None],
        has_clip,
        MaseConfig(alpha=config.alpha, beta=config.beta),
    )
    surest = clip_logits.float().softmax(dim=-1).amax(dim=-1)  # (B, Q)
    void = result.class_logits.float().softmax(dim=-1)[..., -1]
    return FcClipScores(
        class_probs=probs,
        void_probs=void * (1 - config.void_discount * surest),
        clip_agrees=own_logits.argmax(dim=-1) == clip_logits.argmax(dim=-1),
    )
