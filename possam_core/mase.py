"""Mask-Aware Selective Ensembling: combines LDP and CLIP with weights chosen in each image.

The paper says that it uses predicted IoU and LDP's confidence to separate seen from unseen classes
in each image; the equation is our reconstruction, candidate 1 of docs/method.md 4. FC-CLIP's
ensemble is the same one over another set: the classes whose names the training vocabulary shares,
in every image (docs/method.md 5); `benchmarks/ablation` compares the two. All of it in log space
and float32.

Axes: B images, Q mask queries, K classes.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from possam_core.settings import Setting, require_valid


@dataclass(frozen=True, slots=True, kw_only=True)
class MaseConfig:
    """Weights and threshold of the ensemble."""

    alpha: Annotated[
        float, Setting("weight of CLIP for classes that LDP is trusted with", ge=0, le=1)
    ] = 0.4
    beta: Annotated[float, Setting("weight of CLIP for all others", ge=0, le=1)] = 0.8
    tau: Annotated[
        float,
        Setting(
            "IoU times LDP probability from which LDP is sure; 0: of all, 2: of none", finite=False
        ),
    ] = 0.5

    def __post_init__(self) -> None:
        require_valid(self, prefix="mase.")


def trusted_classes(
    ldp_probs: Float[Tensor, "B Q K"], iou_scores: Float[Tensor, "B Q"], tau: float
) -> Bool[Tensor, "B K"]:
    """True for classes for which some mask has IoU times probability of at least `tau`."""
    strongest = (iou_scores.unsqueeze(-1) * ldp_probs).amax(dim=1)  # S_c, (B, K)
    return strongest >= tau


def ensemble(
    ldp_logits: Float[Tensor, "B Q K"],
    clip_logits: Float[Tensor, "B Q K"],
    iou_scores: Float[Tensor, "B Q"],
    has_clip: Bool[Tensor, "B Q"],
    config: MaseConfig,
) -> Float[Tensor, "B Q K"]:
    """Class probabilities by MASE: per image, CLIP weighs less for classes LDP is confident of.

    Args:
        ldp_logits: LDP's scaled logits, without void.
        clip_logits: frozen CLIP's scaled logits.
        iou_scores: predicted IoU, in [0, 1].
        has_clip: False where a mask claims no cell; LDP alone is used there.
        config: weights and threshold.
    """
    ldp_probs = ldp_logits.float().softmax(dim=-1)
    trusted = trusted_classes(ldp_probs, iou_scores.float(), config.tau)
    return geometric_ensemble(ldp_logits, clip_logits, trusted, has_clip, config)


def geometric_ensemble(
    ldp_logits: Float[Tensor, "B Q K"],
    clip_logits: Float[Tensor, "B Q K"],
    trusted: Bool[Tensor, "#B K"],
    has_clip: Bool[Tensor, "B Q"],
    config: MaseConfig,
) -> Float[Tensor, "B Q K"]:
    """Class probabilities: a geometric mean of LDP and CLIP, weighted per image and class.

    Args:
        ldp_logits: LDP's scaled logits, without void.
        clip_logits: frozen CLIP's scaled logits.
        trusted: classes for which CLIP has weight alpha; for the others it has beta. With the
            training classes, in every image, this is FC-CLIP's ensemble.
        has_clip: False where a mask claims no cell; LDP alone is used (docs/method.md 5.7).
        config: weights.
    """
    clip_weight = torch.where(trusted, config.alpha, config.beta).unsqueeze(1)  # (B, 1, K)
    return blend(ldp_logits, clip_logits, clip_weight, has_clip)


def blend(
    ldp_logits: Float[Tensor, "B Q K"],
    clip_logits: Float[Tensor, "B Q K"],
    clip_weight: Float[Tensor, "#B #Q #K"],
    has_clip: Bool[Tensor, "B Q"],
) -> Float[Tensor, "B Q K"]:
    """Class probabilities: LDP^(1 - lambda) * CLIP^lambda, normalised over the classes.

    Args:
        ldp_logits: LDP's scaled logits, without void.
        clip_logits: frozen CLIP's scaled logits.
        clip_weight: lambda, in [0, 1].
        has_clip: False where a mask claims no cell; LDP alone is used (docs/method.md 5.7).
    """
    ldp = ldp_logits.float().log_softmax(dim=-1)
    clip = clip_logits.float().log_softmax(dim=-1)
    weight = clip_weight * has_clip.unsqueeze(-1)  # (B, Q, K)
    return ((1 - weight) * ldp + weight * clip).softmax(dim=-1)
