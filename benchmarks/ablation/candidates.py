"""Alternatives to PosSAM's parts: other forms of LDP, and a network without SAM.

They live here because the library keeps only the best. Letters are docs/method.md 3's.

Axes: B images, Q mask queries, C channels, D joint width.
"""

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

from possam_core.decoder.mask_decoder import Mlp
from possam_core.decoder.pyramid import PYRAMID_SCALES
from possam_core.images.batch import ImageBatch, normalise
from possam_core.ldp import LocalDiscriminativePooling
from possam_core.model import EncoderFeatures, ModelCard, PosSAM, PosSAMConfig


class WithoutClip(LocalDiscriminativePooling):
    """No LDP: FC-CLIP's embedding of a mask, from the decoder's features and query alone."""

    def refine(self, pooled: Tensor, queries: Tensor, clip_embeddings: Tensor) -> Tensor:
        local: Tensor = self.mlp(self.descriptor(self.norm(pooled)) + queries)
        return local


class Concatenated(LocalDiscriminativePooling):
    """Candidate B: G = norm(c) + MLP([s + q; norm(c)])."""

    def __init__(self, *, mask_channels: int, query_width: int, joint_width: int) -> None:
        super().__init__(
            mask_channels=mask_channels, query_width=query_width, joint_width=joint_width
        )
        self.mlp = Mlp(query_width + joint_width, query_width, query_width, joint_width)

    def refine(self, pooled: Tensor, queries: Tensor, clip_embeddings: Tensor) -> Tensor:
        clip = functional.normalize(clip_embeddings, dim=-1)
        local = self.descriptor(self.norm(pooled)) + queries
        embeddings: Tensor = clip + self.mlp(torch.cat([local, clip], dim=-1))
        return embeddings


class Summed(LocalDiscriminativePooling):
    """Candidate C: G = MLP(s + q + W norm(c))."""

    def __init__(self, *, mask_channels: int, query_width: int, joint_width: int) -> None:
        super().__init__(
            mask_channels=mask_channels, query_width=query_width, joint_width=joint_width
        )
        self.from_clip = nn.Linear(joint_width, query_width)

    def refine(self, pooled: Tensor, queries: Tensor, clip_embeddings: Tensor) -> Tensor:
        clip = self.from_clip(functional.normalize(clip_embeddings, dim=-1))
        embeddings: Tensor = self.mlp(self.descriptor(self.norm(pooled)) + queries + clip)
        return embeddings


POOLINGS: dict[str, type[LocalDiscriminativePooling]] = {
    "none": WithoutClip,
    "A": LocalDiscriminativePooling,
    "B": Concatenated,
    "C": Summed,
}


def make_pooling(name: str, config: PosSAMConfig) -> LocalDiscriminativePooling:
    """A new head of one form for a network of `config`."""
    return POOLINGS[name](
        mask_channels=config.pyramid_channels,
        query_width=config.decoder.width,
        joint_width=config.clip.embed_dim,
    )


class OnClipFeatures(PosSAM):
    """As in FC-CLIP: the same decoder on the frozen CLIP's own stages, and no LDP."""

    def __init__(self, config: PosSAMConfig, card: ModelCard) -> None:
        super().__init__(config, card)
        widths = [stage["num_chs"] for stage in self.clip.clip.visual.trunk.feature_info]
        grid = config.sam.image_size // config.sam.patch_size
        sides = [int(scale * grid) for scale in PYRAMID_SCALES]
        self.pyramid = ClipPyramid(widths, sides, config.pyramid_channels)
        self.ldp = make_pooling("none", config)

    def encode(self, batch: ImageBatch) -> EncoderFeatures:
        """The maps of CLIP's stages, resized to the finest of them, instead of SAM's map."""
        pixels = normalise(batch, self.clip.pixel_mean, self.clip.pixel_std)
        trunk = self.clip.clip.visual.trunk
        features, stages = trunk.stem(pixels), []
        for stage in trunk.stages:
            features = stage(features)
            stages.append(features)
        finest = stages[0].shape[-2:]
        stacked = [functional.interpolate(s, finest, mode="nearest") for s in stages]
        return EncoderFeatures(torch.cat(stacked, dim=1), trunk.norm_pre(features))


class ClipPyramid(nn.Module):
    """Four levels from CLIP's stages, of the same sizes as PosSAM's levels from SAM's map."""

    def __init__(self, widths: list[int], sides: list[int], out_channels: int) -> None:
        super().__init__()
        self.widths, self.sides = widths, sides
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, out_channels, 1, bias=False),
                LayerNorm2d(out_channels),
                nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                LayerNorm2d(out_channels),
            )
            for width in widths
        )

    def forward(self, stacked: Tensor) -> list[Tensor]:
        """F_ms, finest first; each level is from a later stage than the one before."""
        stages = stacked.split(self.widths, dim=1)
        return [
            branch(
                functional.interpolate(stage.float(), size=side, mode="bilinear", antialias=True)
            )
            for stage, side, branch in zip(stages, self.sides, self.branches, strict=True)
        ]
