"""Pixel decoder: fuses the pyramid into mask features and the maps that queries attend to.

Axes: B images, C channels, h w feature grid, S cells of all levels one after another.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from possam_core.decoder.deformable_attention import MultiScaleDeformableAttention, cell_centres
from possam_core.decoder.fused import KeptForShape, Mlp, is_fused, norm_of_sum
from possam_core.decoder.position_encoding import PositionEncoding, sine_position_encoding
from possam_core.errors import ConfigError
from possam_core.settings import Setting, require_valid

PixelDecoderKind = Literal["fpn", "deformable"]
FPN_NORM_GROUPS = 8
NORM_GROUPS = 32  # of the deformable pixel decoder's group norms


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelDecoderConfig:
    """Which pixel decoder; the sizes are those of the deformable one (docs/method.md 2.3)."""

    kind: Annotated[PixelDecoderKind, Setting("how levels are fused")] = "fpn"
    num_layers: Annotated[int, Setting("layers of deformable attention", ge=1)] = 6
    num_heads: Annotated[int, Setting("attention heads of a layer", ge=1)] = 8
    num_points: Annotated[int, Setting("points that each head samples on each level", ge=1)] = 4
    ffn_width: Annotated[int, Setting("width inside the feed-forward network", ge=1)] = 1024

    def __post_init__(self) -> None:
        require_valid(self, prefix="pixel_decoder.")


FULL_SIZE_PIXEL_DECODER = PixelDecoderConfig(kind="deformable")  # on 256 channels


@dataclass(frozen=True, slots=True)
class PixelFeatures:
    """Input of the mask decoder."""

    mask_features: Float[Tensor, "B C h w"]  # F_masked, at the finest scale
    memory: tuple[Float[Tensor, "B C _ _"], ...]  # coarse to fine, without the finest


def padding_cells(
    valid: Bool[Tensor, "B H W"], grids_hw: Sequence[tuple[int, int]]
) -> Bool[Tensor, "B S"]:
    """True where a cell of a coarser grid covers no valid cell; grid by grid, row by row."""
    shares = valid[:, None].float()
    pooled = [functional.adaptive_max_pool2d(shares, grid_hw).flatten(1) for grid_hw in grids_hw]
    return torch.cat(pooled, dim=1) == 0


@dataclass(frozen=True, slots=True)
class CellPlaces:
    """What the grids alone say of all cells."""

    encodings: Float[Tensor, "S C"]
    centres: Float[Tensor, "S 2"]
    levels: Int64[Tensor, " S"]  # of each cell


def cell_places(
    grids_hw: Sequence[tuple[int, int]],
    channels: int,
    position_encoding: PositionEncoding,
    device: torch.device,
) -> CellPlaces:
    """Positions encoded in as many `channels`, centres and levels."""
    encodings = [position_encoding(*grid_hw, channels, device=device) for grid_hw in grids_hw]
    levels = [
        torch.full((height * width,), level, device=device)
        for level, (height, width) in enumerate(grids_hw)
    ]
    return CellPlaces(torch.cat(encodings), cell_centres(grids_hw, device), torch.cat(levels))


class PixelDecoder(nn.Module):
    """Top-down fusion, coarse to fine: each level adds the upsampled one above it."""

    def __init__(self, channels: int, *, num_levels: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(num_levels))
        self.outputs = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                nn.GroupNorm(FPN_NORM_GROUPS, channels),
                nn.ReLU(),
            )
            for _ in range(num_levels)
        )
        self.mask_projection = nn.Conv2d(channels, channels, 1)

    def forward(
        self,
        pyramid: list[Float[Tensor, "B _ _ _"]],
        valid: Bool[Tensor, "B h w"] | None = None,
    ) -> PixelFeatures:
        """Fuse a pyramid given finest first; `valid` is ignored."""
        fused: list[Tensor] = []
        for features, lateral, output in zip(
            reversed(pyramid), self.laterals, self.outputs, strict=True
        ):
            x = lateral(features)
            if fused:
                x = x + _upsample(fused[-1], x.shape[-2:])
            fused.append(output(x))
        return PixelFeatures(self.mask_projection(fused[-1]), tuple(fused[:-1]))


class DeformableEncoderLayer(nn.Module):
    """Deformable attention across all levels, feed-forward; each with a residual, then a norm."""

    def __init__(self, config: PixelDecoderConfig, channels: int, *, num_levels: int) -> None:
        super().__init__()
        self.attention = MultiScaleDeformableAttention(
            channels,
            num_levels=num_levels,
            num_heads=config.num_heads,
            num_points=config.num_points,
        )
        self.ffn = Mlp(channels, config.ffn_width, channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))

    def forward(
        self,
        cells: Float[Tensor, "B S C"],
        positions: Float[Tensor, "S C"],
        centres: Float[Tensor, "S 2"],
        grids_hw: Sequence[tuple[int, int]],
        padding: Bool[Tensor, "B S"],
    ) -> Float[Tensor, "B S C"]:
        """Cells of all levels after one layer; each attends around its own centre."""
        attended = self.attention.around_cells(cells, positions, centres, grids_hw, padding)
        cells = norm_of_sum(self.norms[0], cells, attended)
        output: Tensor = norm_of_sum(self.norms[1], cells, self.ffn(cells))
        return output


class DeformablePixelDecoder(nn.Module):
    """Deformable attention across the coarse levels, then one FPN step to the finest.

    As in Mask2Former (docs/method.md 2.3). Half precision is too coarse for the sampling points, so
    it computes in float32 even under autocast; on a GPU, without gradients, only what leads from
    cells to their samples does, and group norms.
    """

    def __init__(
        self,
        config: PixelDecoderConfig,
        channels: int,
        *,
        in_channels: Sequence[int],
        position_encoding: PositionEncoding = sine_position_encoding,
    ) -> None:
        """Build the decoder with random weights.

        Args:
            config: its size.
            channels: of every map that it gives.
            in_channels: of each level that it takes, finest first.
            position_encoding: what its cells know of their place.

        Raises:
            ConfigError: `channels` cannot be normalised in groups.
        """
        super().__init__()
        if channels % NORM_GROUPS:
            raise ConfigError(
                f"a deformable pixel decoder needs a multiple of {NORM_GROUPS} pyramid channels,"
                f" got {channels}; change pyramid_channels or take pixel_decoder.kind fpn"
            )
        self.position_encoding = position_encoding
        self._places = KeptForShape[CellPlaces]()
        finest, *coarse = in_channels
        coarse_levels = len(coarse)
        self.input_projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, channels, 1), nn.GroupNorm(NORM_GROUPS, channels))
            for width in reversed(coarse)
        )
        self.level_embedding = nn.Embedding(coarse_levels, channels)
        self.layers = nn.ModuleList(
            DeformableEncoderLayer(config, channels, num_levels=coarse_levels)
            for _ in range(config.num_layers)
        )
        self.lateral = nn.Sequential(
            nn.Conv2d(finest, channels, 1, bias=False), nn.GroupNorm(NORM_GROUPS, channels)
        )
        self.output = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(NORM_GROUPS, channels),
            nn.ReLU(),
        )
        self.mask_projection = nn.Conv2d(channels, channels, 1)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, MultiScaleDeformableAttention):
                module.reset_parameters()

    def forward(
        self,
        pyramid: list[Float[Tensor, "B _ _ _"]],
        valid: Bool[Tensor, "B h w"] | None = None,
    ) -> PixelFeatures:
        """Fuse a pyramid given finest first.

        Args:
            pyramid: levels of one canvas, each of half the side of the one before.
            valid: False where a cell of the finest level is padding, which contributes nothing to
                other cells; `None` if there is no padding.
        """
        finest = pyramid[0].float()
        coarse = [features.float() for features in reversed(pyramid[1:])]
        if valid is None:
            valid = finest.new_ones((len(finest), *finest.shape[-2:]), dtype=torch.bool)
        # Fused, only what gives the sampling points needs float32; `around_cells` sees to that.
        in_float32 = torch.autocast(finest.device.type, enabled=False)
        with nullcontext() if is_fused(finest) else in_float32:
            memory = self._encode(coarse, valid)
            x = self.lateral(finest) + _upsample(memory[-1], finest.shape[-2:])
            return PixelFeatures(self.mask_projection(self.output(x)), memory)

    def _encode(self, coarse: list[Tensor], valid: Tensor) -> tuple[Tensor, ...]:
        """The levels, coarse to fine, after all layers."""
        grids_hw = [(level.shape[-2], level.shape[-1]) for level in coarse]
        tokens = [
            project(features).flatten(2).transpose(1, 2)  # (B, hw, C)
            for features, project in zip(coarse, self.input_projections, strict=True)
        ]
        cells = torch.cat(tokens, dim=1).float()  # (B, S, C)
        kept = self._places.get(
            (grids_hw, cells.device),
            lambda: cell_places(grids_hw, cells.shape[-1], self.position_encoding, cells.device),
        )
        padding = padding_cells(valid, grids_hw)
        places = kept.encodings + self.level_embedding(kept.levels)
        for layer in self.layers:
            cells = layer(cells, places, kept.centres, grids_hw, padding)
        by_level = torch.split(cells, [h * w for h, w in grids_hw], dim=1)
        return tuple(
            x.transpose(1, 2).reshape(len(x), -1, *hw)
            for x, hw in zip(by_level, grids_hw, strict=True)
        )


def make_pixel_decoder(
    config: PixelDecoderConfig, channels: int, *, num_levels: int
) -> PixelDecoder | DeformablePixelDecoder:
    """The pixel decoder of `config`, with as many channels as the pyramid.

    Raises:
        ConfigError: a deformable one cannot be built on that many channels.
    """
    if config.kind == "deformable":
        return DeformablePixelDecoder(config, channels, in_channels=[channels] * num_levels)
    return PixelDecoder(channels, num_levels=num_levels)


def _upsample(features: Tensor, size_hw: torch.Size) -> Tensor:
    return functional.interpolate(features, size=size_hw, mode="bilinear", align_corners=False)
