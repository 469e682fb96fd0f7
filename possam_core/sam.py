"""The frozen SAM image encoder: spatial features without classes.

Axes: B images, S side of the canvas, C channels, h w feature grid.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from possam_core.errors import ConfigError
from possam_core.images import ImageBatch, normalise

SAM_PIXEL_MEAN = (123.675, 116.28, 103.53)  # grey levels 0-255, RGB
SAM_PIXEL_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamConfig:
    """Shape of SAM's ViT, in the words of `segment_anything`."""

    image_size: int = 192  # side of the square canvas, in pixels
    patch_size: int = 12
    embed_dim: int = 160
    depth: int = 5
    num_heads: int = 5
    out_channels: int = 128
    use_rel_pos: bool = False

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            raise ConfigError(
                f"sam.image_size must be a multiple of sam.patch_size {self.patch_size}, got"
                f" {self.image_size}"
            )


class SamEncoder(nn.Module):
    """Wraps `segment_anything`'s encoder: a padded uint8 batch in, the neck's map out."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.encoder = ImageEncoderViT(
            img_size=config.image_size,
            patch_size=config.patch_size,
            embed_dim=config.embed_dim,
            depth=config.depth,
            num_heads=config.num_heads,
            out_chans=config.out_channels,
            use_rel_pos=config.use_rel_pos,
            window_size=0,
        )
        self.register_buffer("pixel_mean", torch.tensor(SAM_PIXEL_MEAN), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(SAM_PIXEL_STD), persistent=False)

    def forward(self, batch: ImageBatch) -> Float[Tensor, "B C h w"]:
        """Features of the neck, at the stride of one patch."""
        features: Tensor = self.encoder(normalise(batch, self.pixel_mean, self.pixel_std))
        return features
