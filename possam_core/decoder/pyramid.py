"""Simple feature pyramid: four parallel scales from one map (ViTDet; docs/method.md 2.2).

Axes: B images, C channels, h w feature grid.
"""

from jaxtyping import Float
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

PYRAMID_SCALES = (4.0, 2.0, 1.0, 0.5)  # of the encoder's grid; strides 4 8 16 32 for patch 16


class SimpleFeaturePyramid(nn.Module):
    """Rescales one map by `PYRAMID_SCALES`, finest first; no top-down path."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half, quarter = in_channels // 2, in_channels // 4
        rescale: tuple[tuple[nn.Module, int], ...] = (
            (
                nn.Sequential(
                    nn.ConvTranspose2d(in_channels, half, 2, stride=2),
                    LayerNorm2d(half),
                    nn.GELU(),
                    nn.ConvTranspose2d(half, quarter, 2, stride=2),
                ),
                quarter,
            ),
            (nn.ConvTranspose2d(in_channels, half, 2, stride=2), half),
            (nn.Identity(), in_channels),
            (nn.MaxPool2d(2), in_channels),
        )
        self.branches = nn.ModuleList(
            nn.Sequential(
                branch,
                nn.Conv2d(channels, out_channels, 1, bias=False),
                LayerNorm2d(out_channels),
                nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                LayerNorm2d(out_channels),
            )
            for branch, channels in rescale
        )

    def forward(self, features: Float[Tensor, "B C h w"]) -> list[Float[Tensor, "B _ _ _"]]:
        """F_ms: one map per scale, finest first."""
        return [branch(features) for branch in self.branches]
