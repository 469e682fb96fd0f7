"""Ways to combine the classes of LDP and of CLIP. The library keeps the best one.

Axes: B images, Q mask queries, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from possam_core.mase import MaseConfig, blend, ensemble, geometric_ensemble

TAUS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
WEIGHTS = (0.2, 0.4, 0.6, 0.8)  # of CLIP


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """One way, with its settings."""

    kind: str  # ldp, clip, fixed, names, mase-1, mase-2 or mase-3
    mase: MaseConfig = field(default_factory=MaseConfig)

    def class_probs(
        self,
        ldp_logits: Tensor,
        clip_logits: Tensor,
        iou_scores: Tensor,
        has_clip: Tensor,
        is_seen: Tensor,
    ) -> Tensor:
        """(B, Q, K).

        Args:
            ldp_logits: (B, Q, K), scaled, without void.
            clip_logits: (B, Q, K), scaled.
            iou_scores: (B, Q), predicted.
            has_clip: (B, Q), False where a mask claims no cell.
            is_seen: (K,), by name.
        """
        mase = self.mase
        if self.kind == "names":
            return geometric_ensemble(ldp_logits, clip_logits, is_seen[None], has_clip, mase)
        if self.kind == "mase-1":
            return ensemble(ldp_logits, clip_logits, iou_scores, has_clip, mase)
        return blend(ldp_logits, clip_logits, self._clip_weight(ldp_logits, iou_scores), has_clip)

    def _clip_weight(self, ldp_logits: Tensor, iou_scores: Tensor) -> Tensor:
        alpha, beta = self.mase.alpha, self.mase.beta
        if self.kind in ("ldp", "clip", "fixed"):
            weight = {"ldp": 0.0, "clip": 1.0, "fixed": alpha}[self.kind]
            return ldp_logits.new_full((1, 1, 1), weight)
        confidence = iou_scores * ldp_logits.softmax(dim=-1).amax(dim=-1)  # s_k, (B, Q)
        if self.kind == "mase-2":
            return torch.where(confidence >= self.mase.tau, alpha, beta).unsqueeze(-1)
        low, high = confidence.amin(dim=1, keepdim=True), confidence.amax(dim=1, keepdim=True)
        share = (confidence - low) / (high - low).clamp(min=1e-6)
        return (beta - (beta - alpha) * share).unsqueeze(-1)


def settings_of(kind: str) -> Sequence[Ensemble]:
    """The settings of one way that are tried on the training world's held-out scenes."""
    if kind in ("ldp", "clip"):
        return [Ensemble(kind=kind)]
    if kind == "fixed":
        return [Ensemble(kind=kind, mase=MaseConfig(alpha=w, beta=w)) for w in WEIGHTS]
    taus = TAUS if kind in ("mase-1", "mase-2") else TAUS[:1]
    return [
        Ensemble(kind=kind, mase=MaseConfig(alpha=alpha, beta=beta, tau=tau))
        for alpha in WEIGHTS
        for beta in WEIGHTS
        if alpha < beta
        for tau in taus
    ]
