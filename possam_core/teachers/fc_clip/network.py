"""FC-CLIP: masks and two classifications of them, from the maps of one frozen CLIP.

The blocks are PosSAM's. What differs: the pyramid is the four stages of CLIP's ConvNeXt, padding
counts as image, nothing estimates the quality of masks, the learned classifier does not see CLIP's
embedding, and CLIP's map is pooled under masks that are cut at its own, coarse cells.

Axes: B images, Q mask queries, C channels, h w feature grid, D joint width, K classes.
"""

from dataclasses import dataclass, field
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from possam_core.decoder.cast_weights import CastWeights
from possam_core.decoder.mask_decoder import (
    FULL_SIZE_MASK_DECODER,
    MaskDecoder,
    MaskDecoderConfig,
    MaskPrediction,
)
from possam_core.decoder.pixel_decoder import (
    FULL_SIZE_PIXEL_DECODER,
    DeformablePixelDecoder,
    PixelDecoderConfig,
)
from possam_core.decoder.position_encoding import far_edge_position_encoding
from possam_core.encoders.clip import ClipConfig, ClipEncoder
from possam_core.errors import ConfigError
from possam_core.images.batch import ImageBatch
from possam_core.ldp import LocalDiscriminativePooling, claimed_cells, mask_pool
from possam_core.model import MaskClassification
from possam_core.settings import Setting, require_valid
from possam_core.vocabulary.text_embeddings import TextEmbeddings

STRIDES = [4, 8, 16, 32]  # of the tower's stages, in pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class FcClipConfig:
    """The architecture; as it stands, that of the published ConvNeXt-Large model."""

    clip: Annotated[ClipConfig, Setting("CLIP's two towers, a ConvNeXt")] = field(
        default_factory=lambda: ClipConfig(model="convnext_large_d_320")
    )
    pixel_decoder: Annotated[PixelDecoderConfig, Setting("fuses the stages")] = (
        FULL_SIZE_PIXEL_DECODER
    )
    decoder: Annotated[MaskDecoderConfig, Setting("turns queries into masks")] = (
        FULL_SIZE_MASK_DECODER
    )

    def __post_init__(self) -> None:
        wrong = []
        if not self.clip.timm_model_name:
            wrong.append(
                f"clip.model must have a ConvNeXt as image tower, got {self.clip.model!r}; take"
                " convnext_large_d_320, for instance"
            )
        if self.pixel_decoder.kind != "deformable":
            wrong.append(f"pixel_decoder.kind must be deformable, got {self.pixel_decoder.kind!r}")
        require_valid(self, *wrong)


class FcClip(nn.Module):
    """The whole network; CLIP is frozen."""

    def __init__(self, config: FcClipConfig) -> None:
        """Build it with random weights.

        Raises:
            ConfigError: the image tower's stages are not of strides 4, 8, 16, 32, or widths do not
                fit together.
        """
        super().__init__()
        self.config = config
        self.clip = ClipEncoder(config.clip, image_size=STRIDES[-1])
        stages = self.clip.clip.visual.trunk.feature_info
        if [stage["reduction"] for stage in stages] != STRIDES:
            raise ConfigError(
                f"clip must be a ConvNeXt of strides {STRIDES}, got {config.clip.timm_model_name!r}"
                f" of {[stage['reduction'] for stage in stages]}; take another tower"
            )
        width = config.decoder.width
        self.pixel_decoder = DeformablePixelDecoder(
            config.pixel_decoder,
            width,
            in_channels=[stage["num_chs"] for stage in stages],
            position_encoding=far_edge_position_encoding,
        )
        self.mask_decoder = MaskDecoder(
            config.decoder,
            in_channels=width,
            num_levels=len(STRIDES) - 1,
            position_encoding=far_edge_position_encoding,
            projects_inputs=False,
            has_iou_head=False,
        )
        self.ldp = LocalDiscriminativePooling(
            mask_channels=width,
            query_width=width,
            joint_width=config.clip.embed_dim,
            refines_clip=False,
        )
        self._casts = CastWeights()

    def forward(
        self, batch: ImageBatch, text: TextEmbeddings, *, all_layers: bool = False
    ) -> list[MaskClassification]:
        """Masks and classes after the last layer, or from the queries alone and after every one.

        `class_logits` are the learned classifier's, void last, `clip_embeddings` frozen CLIP's;
        `has_clip` is False where a mask claims no cell of CLIP's map.
        """
        parts = [*self.clip.dense_parts, self.pixel_decoder, self.mask_decoder]
        with self._casts.lent(parts, batch.pixels):
            maps = self.clip.stages(batch)
            finest = maps[0]
            everywhere = torch.ones_like(finest[:, 0], dtype=torch.bool)  # padding counts as image
            pixels = self.pixel_decoder(maps, everywhere)
            predictions = self.mask_decoder(pixels, everywhere, all_layers=all_layers)
        with torch.autocast(finest.device.type, enabled=False):  # classes need float32
            return [
                self._classify(p, pixels.mask_features.float(), maps[-1].float(), text)
                for p in predictions
            ]

    def _classify(
        self,
        prediction: MaskPrediction,
        mask_features: Tensor,
        clip_features: Tensor,
        text: TextEmbeddings,
    ) -> MaskClassification:
        mask_logits = prediction.mask_logits.float()
        everywhere = torch.ones_like(mask_features[:, 0], dtype=torch.bool)
        pooled = mask_pool(mask_features, claimed_cells(mask_logits, everywhere))
        embeddings = self.ldp.local(pooled, prediction.queries.float())
        coarse = hard_cut(mask_logits, (clip_features.shape[-2], clip_features.shape[-1]))
        return MaskClassification(
            prediction,
            self.ldp.class_logits(embeddings, text),
            self.clip.project(mask_pool(clip_features, coarse)),
            coarse.flatten(2).any(dim=-1),
        )


def hard_cut(
    mask_logits: Float[Tensor, "B Q h w"], grid_hw: tuple[int, int]
) -> Float[Tensor, "B Q H W"]:
    """1 for the cells of a coarser grid where the resized logits are above zero, else 0.

    Not antialiased, so a mask between the samples of a coarse cell claims none.
    """
    resized = functional.interpolate(
        mask_logits, size=grid_hw, mode="bilinear", align_corners=False
    )
    return (resized > 0).float()
