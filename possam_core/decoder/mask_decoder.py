"""Masked-attention decoder: queries become class-agnostic masks and IoU estimates.

Blocks as in Mask2Former (docs/method.md 2.4).

Axes: B images, Q mask queries, C channels, h w feature grid, S tokens to look at, M heads.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from possam_core.decoder.fused import KeptForShape, Mlp, is_fused, norm_of_sum
from possam_core.decoder.pixel_decoder import PixelFeatures, padding_cells
from possam_core.decoder.position_encoding import PositionEncoding, sine_position_encoding
from possam_core.errors import ConfigError
from possam_core.settings import Setting, require_valid


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskDecoderConfig:
    """Size of the decoder."""

    num_queries: Annotated[int, Setting("masks that it proposes for an image", ge=1)] = 32
    num_layers: Annotated[int, Setting("layers; levels are cycled coarse to fine", ge=1)] = 3
    width: Annotated[int, Setting("channels of a query", ge=1)] = 128
    num_heads: Annotated[int, Setting("attention heads of a layer", ge=1)] = 8
    ffn_width: Annotated[int, Setting("width inside the feed-forward network", ge=1)] = 512

    def __post_init__(self) -> None:
        require_valid(self, prefix="decoder.")
        if self.width % self.num_heads or self.width % 4:
            raise ConfigError(
                f"decoder.width must be a multiple of num_heads {self.num_heads} and of 4, got"
                f" {self.width}"
            )


FULL_SIZE_MASK_DECODER = MaskDecoderConfig(
    num_queries=250, num_layers=9, width=256, num_heads=8, ffn_width=2048
)


@dataclass(frozen=True, slots=True)
class MaskPrediction:
    """The masks after one decoder layer."""

    queries: Float[Tensor, "B Q C"]  # normalised decoder output, q_k
    mask_logits: Float[Tensor, "B Q h w"]  # P_mask
    iou_logits: Float[Tensor, "B Q"] | None  # P_iou before its sigmoid; None: without an IoU head

    @property
    def iou_scores(self) -> Float[Tensor, "B Q"]:
        """P_iou, of a decoder that has an IoU head."""
        assert self.iou_logits is not None
        return self.iou_logits.float().sigmoid()


class Attention(nn.Module):
    """Multi-head attention with one mask for all heads, and PyTorch's parameter names.

    `nn.MultiheadAttention` needs a copy of the mask for every head: at full size 131 MB in a
    layer.
    """

    def __init__(self, width: int, *, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.out_proj = nn.Linear(width, width)
        nn.init.zeros_(self.out_proj.bias)
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))  # query, key, value
        nn.init.xavier_uniform_(self.in_proj_weight)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))

    def forward(
        self,
        query: Float[Tensor, "B Q C"],
        key: Float[Tensor, "B S C"],
        value: Float[Tensor, "B S C"],
        *,
        allowed: Bool[Tensor, "B Q S"] | None = None,
    ) -> Float[Tensor, "B Q C"]:
        """The attention output; `allowed` is False where a query may not attend."""
        queries, keys, values = map(self._split_heads, self._project(query, key, value))
        gathered = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=None if allowed is None else allowed.unsqueeze(1)
        )  # (B, M, Q, C/M)
        output: Tensor = self.out_proj(gathered.transpose(1, 2).flatten(2))
        return output

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        if query is key and is_fused(query):
            both = slice(0, 2 * query.shape[-1])
            joint = functional.linear(query, self.in_proj_weight[both], self.in_proj_bias[both])
            return [*joint.chunk(2, dim=-1), functional.linear(value, weights[2], biases[2])]
        return [
            functional.linear(x, weight, bias)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        ]

    def _split_heads(self, tokens: Tensor) -> Tensor:
        batch, length, width = tokens.shape
        by_head = tokens.reshape(batch, length, self.num_heads, width // self.num_heads)
        return by_head.transpose(1, 2)


class DecoderLayer(nn.Module):
    """Masked cross-attention, self-attention, feed-forward; each with a residual, then a norm."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        width = config.width
        self.cross_attention = Attention(width, num_heads=config.num_heads)
        self.self_attention = Attention(width, num_heads=config.num_heads)
        self.ffn = Mlp(width, config.ffn_width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(
        self,
        queries: Float[Tensor, "B Q C"],
        query_positions: Float[Tensor, "Q C"],
        memory: Float[Tensor, "B hw C"],
        placed_memory: Float[Tensor, "B hw C"],
        allowed: Bool[Tensor, "B Q hw"],
    ) -> Float[Tensor, "B Q C"]:
        """Queries after one layer.

        Args:
            queries: before it.
            query_positions: learned.
            memory: what they look at.
            placed_memory: the same, with positions: what they compare themselves with.
            allowed: False where a query may not attend.
        """
        attended = self.cross_attention(
            queries + query_positions, placed_memory, memory, allowed=allowed
        )
        queries = norm_of_sum(self.norms[0], queries, attended)
        placed = queries + query_positions
        attended = self.self_attention(placed, placed, queries)
        queries = norm_of_sum(self.norms[1], queries, attended)
        output: Tensor = norm_of_sum(self.norms[2], queries, self.ffn(queries))
        return output


class MaskDecoder(nn.Module):
    """N learnable queries, refined level by level; masks are dot products with mask features."""

    def __init__(
        self,
        config: MaskDecoderConfig,
        *,
        in_channels: int,
        num_levels: int,
        position_encoding: PositionEncoding = sine_position_encoding,
        projects_inputs: bool = True,
        has_iou_head: bool = True,
    ) -> None:
        """Build the decoder with random weights.

        Args:
            config: its size.
            in_channels: of the maps that it takes.
            num_levels: maps that queries attend to in turn.
            position_encoding: what cells know of their place.
            projects_inputs: False: the maps are already as wide as the queries, and taken as they
                are.
            has_iou_head: False: nothing estimates how good masks are.

        Raises:
            ConfigError: maps that are taken as they are have another width.
        """
        super().__init__()
        width = config.width
        if not projects_inputs and in_channels != width:
            raise ConfigError(
                f"decoder.width must be that of the maps that it takes as they are, {in_channels},"
                f" got {width}"
            )
        self.position_encoding = position_encoding
        self._positions = KeptForShape[list[Tensor]]()
        self.query_features = nn.Embedding(config.num_queries, width)
        self.query_positions = nn.Embedding(config.num_queries, width)
        self.level_embedding = nn.Embedding(num_levels, width)
        self.input_projections = nn.ModuleList(
            nn.Conv2d(in_channels, width, 1) if projects_inputs else nn.Identity()
            for _ in range(num_levels)
        )
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(width)
        self.mask_embedding = Mlp(width, width, width, in_channels)
        self.iou_head = Mlp(width, width, width, 1) if has_iou_head else None

    def forward(
        self,
        pixels: PixelFeatures,
        valid: Bool[Tensor, "B h w"],
        *,
        all_layers: bool = True,
    ) -> list[MaskPrediction]:
        """Predictions from the learnable queries and after every layer, or only after the last one.

        Args:
            pixels: maps of the pixel decoder.
            valid: False where a cell of the mask features is padding; queries never attend to it.
            all_layers: False skips the masks that only deep supervision needs.
        """
        batch = len(valid)
        memory, placed, inside = self._flatten(pixels, valid)
        # A mask is linear in the mask features, so these may be resized before the product.
        shrunk = [_resize(pixels.mask_features.detach(), m.shape[-2:]) for m in pixels.memory]
        queries = self.query_features.weight.expand(batch, -1, -1)
        predictions = []
        for i, layer in enumerate(self.layers):
            if all_layers:
                predictions.append(self._predict(queries, pixels.mask_features))
            level = i % len(memory)
            allowed = self._allowed(queries, shrunk[level], inside[level])
            queries = layer(
                queries, self.query_positions.weight, memory[level], placed[level], allowed
            )
        return [*predictions, self._predict(queries, pixels.mask_features)]

    def _flatten(
        self, pixels: PixelFeatures, valid: Tensor
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Of each level: its cells, the same with positions, and which are no padding."""
        grids_hw = [(features.shape[-2], features.shape[-1]) for features in pixels.memory]
        memory = [
            project(features).flatten(2).transpose(1, 2) + level_embedding  # (B, hw, C)
            for features, project, level_embedding in zip(
                pixels.memory, self.input_projections, self.level_embedding.weight, strict=True
            )
        ]
        channels, device = memory[0].shape[-1], memory[0].device
        positions = self._positions.get(
            (grids_hw, device),
            lambda: [self.position_encoding(*hw, channels, device=device) for hw in grids_hw],
        )
        placed = [cells + encoding for cells, encoding in zip(memory, positions, strict=True)]
        inside = ~padding_cells(valid, grids_hw)
        return memory, placed, list(torch.split(inside, [h * w for h, w in grids_hw], dim=1))

    def _predict(self, queries: Tensor, mask_features: Tensor) -> MaskPrediction:
        normed = self.norm(queries)
        mask_logits = self._mask_logits(normed, mask_features)
        iou_logits = None if self.iou_head is None else self.iou_head(normed).squeeze(-1)
        return MaskPrediction(normed, mask_logits, iou_logits)

    def _mask_logits(self, normed: Tensor, mask_features: Tensor) -> Tensor:
        return torch.einsum("bqc,bchw->bqhw", self.mask_embedding(normed), mask_features)

    @torch.no_grad()
    def _allowed(self, queries: Tensor, mask_features: Tensor, inside: Tensor) -> Tensor:
        mask_logits = self._mask_logits(self.norm(queries), mask_features)
        claimed = (mask_logits >= 0).flatten(2) & inside[:, None]  # sigmoid >= 0.5, (B, Q, hw)
        return torch.where(claimed.any(dim=-1, keepdim=True), claimed, inside[:, None])


def _resize(features: Tensor, size_hw: torch.Size) -> Tensor:
    return functional.interpolate(features, size=size_hw, mode="bilinear", align_corners=False)
