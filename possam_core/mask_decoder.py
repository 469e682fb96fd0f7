"""Masked-attention decoder: queries become class-agnostic masks and IoU estimates.

Blocks as in Mask2Former (METHOD 1.3). Axes: B images, Q mask queries, C channels, h w feature grid.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from possam_core.errors import ConfigError
from possam_core.pixel_decoder import PixelFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskDecoderConfig:
    """Size of the decoder."""

    num_queries: int = 32
    num_layers: int = 3  # levels are cycled coarse to fine
    width: int = 128
    num_heads: int = 8
    ffn_width: int = 512

    def __post_init__(self) -> None:
        if self.width % self.num_heads or self.width % 4:
            raise ConfigError(
                f"decoder.width must be a multiple of num_heads {self.num_heads} and of 4, got"
                f" {self.width}"
            )


@dataclass(frozen=True, slots=True)
class MaskPrediction:
    """The masks after one decoder layer."""

    queries: Float[Tensor, "B Q C"]  # normalised decoder output, q_k
    mask_logits: Float[Tensor, "B Q h w"]  # P_mask
    iou_logits: Float[Tensor, "B Q"]  # P_iou before its sigmoid


class Mlp(nn.Sequential):
    """Linear layers with ReLU between them."""

    def __init__(self, *widths: int) -> None:
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        super().__init__(*layers[:-1])


def sine_position_encoding(height: int, width: int, channels: int) -> Float[Tensor, "hw C"]:
    """Sines and cosines of normalised row and column; half of the channels each."""
    frequencies = 10000 ** (-torch.arange(channels // 4) / (channels // 4))
    parts = []
    for size in (height, width):
        angle = (torch.arange(size) + 0.5)[:, None] / size * 2 * math.pi * frequencies
        parts.append(torch.cat([angle.sin(), angle.cos()], dim=-1))  # (size, C/2)
    rows = parts[0][:, None].expand(-1, width, -1)
    columns = parts[1][None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


class DecoderLayer(nn.Module):
    """Masked cross-attention, self-attention, feed-forward; each with a residual, then a norm."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        width = config.width
        self.cross_attention = nn.MultiheadAttention(width, config.num_heads, batch_first=True)
        self.self_attention = nn.MultiheadAttention(width, config.num_heads, batch_first=True)
        self.ffn = Mlp(width, config.ffn_width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(
        self,
        queries: Float[Tensor, "B Q C"],
        query_positions: Float[Tensor, "Q C"],
        memory: Float[Tensor, "B hw C"],
        memory_positions: Float[Tensor, "hw C"],
        blocked: Bool[Tensor, "BN Q hw"],
    ) -> Float[Tensor, "B Q C"]:
        """Queries after one layer; `blocked` is True where a head may not attend."""
        attended, _ = self.cross_attention(
            queries + query_positions,
            memory + memory_positions,
            memory,
            attn_mask=blocked,
            need_weights=False,
        )
        queries = self.norms[0](queries + attended)
        placed = queries + query_positions
        attended, _ = self.self_attention(placed, placed, queries, need_weights=False)
        queries = self.norms[1](queries + attended)
        output: Tensor = self.norms[2](queries + self.ffn(queries))
        return output


class MaskDecoder(nn.Module):
    """N learnable queries, refined level by level; masks are dot products with mask features."""

    def __init__(self, config: MaskDecoderConfig, *, in_channels: int, num_levels: int) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        width = config.width
        self.query_features = nn.Embedding(config.num_queries, width)
        self.query_positions = nn.Embedding(config.num_queries, width)
        self.level_embedding = nn.Embedding(num_levels, width)
        self.input_projections = nn.ModuleList(
            nn.Conv2d(in_channels, width, 1) for _ in range(num_levels)
        )
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(width)
        self.mask_embedding = Mlp(width, width, width, in_channels)
        self.iou_head = Mlp(width, width, width, 1)

    def forward(self, pixels: PixelFeatures, valid: Bool[Tensor, "B h w"]) -> list[MaskPrediction]:
        """Predictions on the learnable queries and after every layer, last one best.

        Args:
            pixels: maps of the pixel decoder.
            valid: False where a cell of the mask features is padding; queries never look there.
        """
        batch = len(valid)
        memory, positions, padding = self._flatten(pixels, valid)
        queries = self.query_features.weight.expand(batch, -1, -1)
        predictions = [self._predict(queries, pixels.mask_features)]
        for i, layer in enumerate(self.layers):
            level = i % len(memory)
            blocked = self._blocked(
                predictions[-1].mask_logits, pixels.memory[level].shape[-2:], padding[level]
            )
            queries = layer(
                queries, self.query_positions.weight, memory[level], positions[level], blocked
            )
            predictions.append(self._predict(queries, pixels.mask_features))
        return predictions

    def _flatten(
        self, pixels: PixelFeatures, valid: Tensor
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        memory, positions, padding = [], [], []
        for level, (features, project) in enumerate(
            zip(pixels.memory, self.input_projections, strict=True)
        ):
            height, width = features.shape[-2:]
            tokens = project(features).flatten(2).transpose(1, 2)  # (B, hw, C)
            memory.append(tokens + self.level_embedding.weight[level])
            encoding = sine_position_encoding(height, width, tokens.shape[-1])
            positions.append(encoding.to(tokens.device))
            is_valid = functional.adaptive_max_pool2d(valid[:, None].float(), (height, width))
            padding.append(is_valid.flatten(1) == 0)  # (B, hw)
        return memory, positions, padding

    def _predict(self, queries: Tensor, mask_features: Tensor) -> MaskPrediction:
        normed = self.norm(queries)
        mask_logits = torch.einsum("bqc,bchw->bqhw", self.mask_embedding(normed), mask_features)
        return MaskPrediction(normed, mask_logits, self.iou_head(normed).squeeze(-1))

    def _blocked(self, mask_logits: Tensor, grid_hw: torch.Size, padding: Tensor) -> Tensor:
        resized = functional.interpolate(
            mask_logits.detach(), size=grid_hw, mode="bilinear", align_corners=False
        )
        outside = (resized < 0).flatten(2) | padding[:, None]  # sigmoid < 0.5, (B, Q, hw)
        nothing_left = outside.all(dim=-1, keepdim=True)
        blocked = torch.where(nothing_left, padding[:, None], outside)
        return blocked.repeat_interleave(self.num_heads, dim=0)
