"""Local Discriminative Pooling: one CLIP-space embedding per mask, refined with SAM's features.

The paper names the inputs (F_masked, P_mask, F_clip) and the output (G_ldp); the equation is our
reconstruction, candidate A of docs/method.md 3: G = norm(c) + gamma * MLP(s + q). With gamma at
zero it is frozen CLIP under the mask.

Axes: B images, Q mask queries, C channels, h w feature grid, D joint width, K classes.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from possam_core.decoder.fused import Mlp
from possam_core.encoders.clip import MAX_LOGIT_SCALE
from possam_core.vocabulary.text_embeddings import TextEmbeddings


def claimed_cells(
    mask_logits: Float[Tensor, "B Q h w"], valid: Bool[Tensor, "B h w"]
) -> Float[Tensor, "B Q h w"]:
    """1 for the cells each mask claims, else 0; always 0 in the padding. It has no gradient."""
    return ((mask_logits.detach() > 0) & valid.unsqueeze(1)).float()


def mask_coverage(
    masks: Float[Tensor, "B Q h w"], grid_hw: tuple[int, int]
) -> Float[Tensor, "B Q H W"]:
    """The share of each cell of a coarser grid that each mask covers.

    A mask smaller than a cell keeps its share; resizing and thresholding logits would lose it.
    """
    return functional.adaptive_avg_pool2d(masks, grid_hw)


def mask_pool(
    features: Float[Tensor, "B C h w"], masks: Float[Tensor, "B Q h w"]
) -> Float[Tensor, "B Q C"]:
    """Average `features` weighted by `masks`, cells or shares of them; an empty one gives zeros."""
    area = masks.sum(dim=(-2, -1)).clamp(min=1e-6).unsqueeze(-1)  # (B, Q, 1), in cells
    return torch.einsum("bchw,bqhw->bqc", features.float(), masks) / area


class LocalDiscriminativePooling(nn.Module):
    """Classifies masks: logits over a vocabulary's classes, and void last."""

    gamma: nn.Parameter | None

    def __init__(
        self,
        *,
        mask_channels: int,
        query_width: int,
        joint_width: int,
        refines_clip: bool = True,
    ) -> None:
        """Build the classifier with random weights.

        Args:
            mask_channels: of the mask features.
            query_width: of the queries.
            joint_width: of CLIP's embeddings.
            refines_clip: False: masks are classified without CLIP, by `local` alone.
        """
        super().__init__()
        self.norm = nn.LayerNorm(mask_channels)
        self.descriptor = nn.Linear(mask_channels, query_width)
        self.mlp = Mlp(query_width, query_width, query_width, joint_width)
        gamma = nn.Parameter(torch.full((joint_width,), 0.1)) if refines_clip else None
        self.register_parameter("gamma", gamma)
        self.void = nn.Parameter(torch.randn(joint_width))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(
        self,
        mask_features: Float[Tensor, "B C h w"],
        masks: Float[Tensor, "B Q h w"],
        queries: Float[Tensor, "B Q _"],
        clip_embeddings: Float[Tensor, "B Q D"],
    ) -> Float[Tensor, "B Q D"]:
        """G_ldp.

        Args:
            mask_features: F_masked.
            masks: cells each mask claims on the grid of `mask_features`, see `claimed_cells`.
            queries: normalised decoder output q_k.
            clip_embeddings: c_k, CLIP's head over CLIP's features pooled under the mask; zeros
                where the mask claims no cell.
        """
        return self.refine(mask_pool(mask_features, masks), queries, clip_embeddings)

    def refine(
        self,
        pooled: Float[Tensor, "B Q C"],
        queries: Float[Tensor, "B Q _"],
        clip_embeddings: Float[Tensor, "B Q D"],
    ) -> Float[Tensor, "B Q D"]:
        """G_ldp from F_masked pooled under each mask."""
        assert self.gamma is not None
        local = self.local(pooled, queries)
        embeddings: Tensor = functional.normalize(clip_embeddings, dim=-1) + self.gamma * local
        return embeddings

    def local(
        self, pooled: Float[Tensor, "B Q C"], queries: Float[Tensor, "B Q _"]
    ) -> Float[Tensor, "B Q D"]:
        """MLP(s + q), what masks are without CLIP."""
        embeddings: Tensor = self.mlp(self.descriptor(self.norm(pooled)) + queries)
        return embeddings

    def class_logits(
        self, embeddings: Float[Tensor, "B Q D"], text: TextEmbeddings
    ) -> Float[Tensor, "B Q K1"]:
        """Scaled similarity to each class, and to the learned void vector in the last column."""
        to_void = functional.normalize(embeddings, dim=-1) @ functional.normalize(self.void, dim=0)
        scale = self.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
        return scale * torch.cat([text.class_logits(embeddings), to_void.unsqueeze(-1)], dim=-1)
