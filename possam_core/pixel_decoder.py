"""Pixel decoder: fuses the pyramid into mask features and the maps that queries attend to.

Axes: B images, C channels, h w feature grid.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class PixelFeatures:
    """What the mask decoder reads."""

    mask_features: Float[Tensor, "B C h w"]  # F_masked, at the finest scale
    memory: tuple[Float[Tensor, "B C _ _"], ...]  # coarse to fine, without the finest


class PixelDecoder(nn.Module):
    """Top-down fusion, coarse to fine: each level adds the upsampled one above it."""

    def __init__(self, channels: int, *, num_levels: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(num_levels))
        self.outputs = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                nn.GroupNorm(8, channels),
                nn.ReLU(),
            )
            for _ in range(num_levels)
        )
        self.mask_projection = nn.Conv2d(channels, channels, 1)

    def forward(self, pyramid: list[Float[Tensor, "B _ _ _"]]) -> PixelFeatures:
        """Fuse a pyramid given finest first."""
        fused: list[Tensor] = []
        for features, lateral, output in zip(
            reversed(pyramid), self.laterals, self.outputs, strict=True
        ):
            x = lateral(features)
            if fused:
                x = x + functional.interpolate(
                    fused[-1], size=x.shape[-2:], mode="bilinear", align_corners=False
                )
            fused.append(output(x))
        return PixelFeatures(self.mask_projection(fused[-1]), tuple(fused[:-1]))
