"""SAM's ViT with rearranged attention: the same results, without an N x N bias.

Relative positions are decomposed (MViTv2): the bias between the query at (y, x) and the key at
(i, j) is `bias_h[y, x, i] + bias_w[y, x, j]`. On a CPU it is computed for a few queries at a time.
On a GPU the kernel adds it to each score; training SAM, which needs gradients, folds it into longer
queries and keys.

Axes: B images or windows, A heads, H W pixels, h w grid of tokens (N = h w), C channels,
D channels of a head.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import torch
from jaxtyping import Float
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import Attention
from torch import Tensor
from torch.nn import functional

# Elements of the bias computed at once: at 1024 pixels all windows, or four rows of a global block,
# of ViT-B. Fewer than 192 queries, or more bytes, slow torch's CPU kernel down.
BIAS_NUMBERS = 12 * 2**20
WIDTH_MULTIPLE = 8  # fused kernels need heads of whole 16-byte words


class SamVit(ImageEncoderViT):  # type: ignore[misc]  # untyped
    """`segment_anything`'s encoder with the same parameters, faster and for any grid."""

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Features of the neck, at the stride of one patch."""
        tokens = self.patch_embed(pixels)  # (B, h, w, C)
        tokens = tokens + resize_positions(self.pos_embed, (tokens.shape[1], tokens.shape[2]))
        for block in self.blocks:
            tokens = tokens + sam_attention(block.attn, block.norm1(tokens), block.window_size)
            tokens = tokens + block.mlp(block.norm2(tokens))
        features: Tensor = self.neck(tokens.permute(0, 3, 1, 2))
        return features


def resize_positions(
    positions: Float[Tensor, "1 _ _ C"], grid_hw: tuple[int, int]
) -> Float[Tensor, "1 h w C"]:
    """Position embeddings for another grid, bicubic with antialiasing (too cheap to cache)."""
    if positions.shape[1:3] == grid_hw:
        return positions
    return functional.interpolate(
        positions.permute(0, 3, 1, 2), size=grid_hw, mode="bicubic", antialias=True
    ).permute(0, 2, 3, 1)


def sam_attention(
    attention: Attention, tokens: Float[Tensor, "B h w C"], window_size: int
) -> Float[Tensor, "B h w C"]:
    """Output of a SAM block's attention; the whole grid is one window if the size is 0.

    Windows are padded after the projection to queries, keys and values, where padding equals the
    bias, and cropped before the projection of the output.
    """
    grid_hw = (tokens.shape[1], tokens.shape[2])
    qkv = attention.qkv(tokens)
    if window_size:
        qkv = _windows(qkv, attention.qkv.bias, window_size)
    split = qkv.view(*qkv.shape[:3], 3, attention.num_heads, -1)
    query, key, value = split.permute(3, 0, 4, 1, 2, 5)  # each (B, A, h, w, D)
    if attention.use_rel_pos:
        attended = _attend_with_positions(
            query, key, value, attention.rel_pos_h, attention.rel_pos_w
        )
    else:
        attended = functional.scaled_dot_product_attention(
            query.flatten(2, 3), key.flatten(2, 3), value.flatten(2, 3)
        ).view(query.shape)
    mixed = attended.permute(0, 2, 3, 1, 4).flatten(3)  # (B, h, w, C), heads side by side
    if window_size:
        mixed = _grid(mixed, grid_hw)
    projected: Tensor = attention.proj(mixed)
    return projected


def attend_in_parts(
    query: Float[Tensor, "B A h w D"],
    key: Float[Tensor, "B A h w D"],
    value: Float[Tensor, "B A h w D"],
    bias_h: Float[Tensor, "B A h w h"],
    bias_w: Float[Tensor, "B A h w w"],
) -> Float[Tensor, "B A h w D"]:
    """Attention by chunks of windows, or of rows of one window, with the bias of a chunk only."""
    count, heads, height, width = query.shape[:4]
    per_row = heads * width * height * width
    num_rows = min(height, max(1, BIAS_NUMBERS // per_row))
    num_windows = max(1, BIAS_NUMBERS // (per_row * height))
    result = query.new_empty((count, height, width, heads, query.shape[-1]))
    for first in range(0, count, num_windows):
        some = slice(first, first + num_windows)
        keys, values = key[some].flatten(2, 3), value[some].flatten(2, 3)
        for top in range(0, height, num_rows):
            rows = slice(top, top + num_rows)
            queries = query[some, :, rows]
            bias = bias_h[some, :, rows, :, :, None] + bias_w[some, :, rows, :, None, :]
            part = functional.scaled_dot_product_attention(
                queries.flatten(2, 3), keys, values, attn_mask=bias.flatten(4).flatten(2, 3)
            )
            result[some, rows] = part.view(queries.shape).permute(0, 2, 3, 1, 4)
    return result.permute(0, 3, 1, 2, 4)


def attend_folded(
    query: Float[Tensor, "B A h w D"],
    key: Float[Tensor, "B A h w D"],
    value: Float[Tensor, "B A h w D"],
    bias_h: Float[Tensor, "B A h w h"],
    bias_w: Float[Tensor, "B A h w w"],
) -> Float[Tensor, "B A h w D"]:
    """Attend in one call without a bias: `[q s, bias_h, bias_w] . [k, row is i, column is j]`.

    Values are padded with zeros to the same width, as the fused kernels require. More operations
    than any other form, but no N x N bias to be kept for the backward pass.
    """
    height, width, channels = query.shape[2:]
    is_row = torch.eye(height, dtype=key.dtype, device=key.device)[:, None].expand(-1, width, -1)
    is_column = torch.eye(width, dtype=key.dtype, device=key.device).expand(height, -1, -1)
    is_at = torch.cat((is_row, is_column), dim=-1).expand(*key.shape[:2], -1, -1, -1)
    padding = -(channels + height + width) % WIDTH_MULTIPLE
    long_query = torch.cat((query * channels**-0.5, bias_h, bias_w), dim=-1)
    long_key = torch.cat((key, is_at), dim=-1)
    attended = functional.scaled_dot_product_attention(
        functional.pad(long_query, (0, padding)).flatten(2, 3),
        functional.pad(long_key, (0, padding)).flatten(2, 3),
        functional.pad(value, (0, height + width + padding)).flatten(2, 3),
        scale=1.0,
    )
    return attended[..., :channels].view(query.shape)


def attend_with_bias(
    query: Float[Tensor, "B A h w D"],
    key: Float[Tensor, "B A h w D"],
    value: Float[Tensor, "B A h w D"],
    bias_h: Float[Tensor, "B A h w h"],
    bias_w: Float[Tensor, "B A h w w"],
) -> Float[Tensor, "B A h w D"]:
    """Attend in one call, with the whole bias spelt out."""
    bias = bias_h.unsqueeze(-1) + bias_w.unsqueeze(-2)  # (B, A, h, w, h, w)
    attended = functional.scaled_dot_product_attention(
        query.flatten(2, 3),
        key.flatten(2, 3),
        value.flatten(2, 3),
        attn_mask=bias.flatten(4).flatten(2, 3),
    )
    return attended.reshape(query.shape)


def attend_by_score(
    query: Float[Tensor, "B A h w D"],
    key: Float[Tensor, "B A h w D"],
    value: Float[Tensor, "B A h w D"],
    bias_h: Float[Tensor, "B A h w h"],
    bias_w: Float[Tensor, "B A h w w"],
) -> Float[Tensor, "B A h w D"]:
    """Attend in one call that adds the two biases to each score; compiled on a GPU."""
    attend = _scored_attention if query.device.type == "cpu" else _compiled()
    tokens = (x.flatten(2, 3) for x in (query, key, value, bias_h, bias_w))  # (B, A, N, _)
    return attend(*tokens).reshape(query.shape)


def _scored_attention(
    query: Tensor, key: Tensor, value: Tensor, bias_h: Tensor, bias_w: Tensor
) -> Tensor:
    # Importing it takes a second, which only a GPU has to spend.
    from torch.nn.attention.flex_attention import flex_attention

    width = bias_w.shape[-1]
    attended = flex_attention(
        query,
        key,
        value,
        lambda score, b, a, n, at: (
            score + bias_h[b, a, n, at // width] + bias_w[b, a, n, at % width]
        ),
    )
    assert isinstance(attended, Tensor)
    return attended


@cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(_scored_attention)


@torch.library.custom_op("possam::attend_fused", mutates_args=())
def attend_fused(
    query: Tensor, key: Tensor, value: Tensor, bias_h: Tensor, bias_w: Tensor
) -> Tensor:
    """`attend_by_score` on a GPU with Triton, else `attend_with_bias`; no gradients.

    The result lies in memory as (B, h, w, A, D).
    """
    return _heads_last(attend_with_bias(query, key, value, bias_h, bias_w))


@attend_fused.register_fake
def _(query: Tensor, *_: Tensor) -> Tensor:
    return _heads_last(torch.empty_like(query))


@attend_fused.register_kernel("cuda")
def _(query: Tensor, key: Tensor, value: Tensor, bias_h: Tensor, bias_w: Tensor) -> Tensor:
    attend = attend_with_bias if find_spec("triton") is None else attend_by_score
    return _heads_last(attend(query, key, value, bias_h, bias_w))


def _heads_last(attended: Tensor) -> Tensor:
    return attended.permute(0, 2, 3, 1, 4).contiguous().permute(0, 3, 1, 2, 4)


def relative_table(rel_pos: Float[Tensor, "_ D"], size: int) -> Float[Tensor, "{size} {size} D"]:
    """The embedding of each query's distance to each key, on an axis of `size` tokens.

    Embeddings learned for another size are interpolated linearly, as `segment_anything` does.
    """
    length = 2 * size - 1
    if len(rel_pos) != length:
        rel_pos = functional.interpolate(rel_pos.T[None], size=length, mode="linear")[0].T
    position = torch.arange(size, device=rel_pos.device)
    return rel_pos[position[:, None] - position + size - 1]


def _attend_with_positions(
    query: Tensor, key: Tensor, value: Tensor, rel_pos_h: Tensor, rel_pos_w: Tensor
) -> Tensor:
    height, width = query.shape[2:4]
    bias_h = query @ relative_table(rel_pos_h, height).transpose(1, 2)
    bias_w = query.transpose(2, 3) @ relative_table(rel_pos_w, width).transpose(1, 2)
    bias_w = bias_w.transpose(2, 3).contiguous()
    if query.device.type == "cpu":
        return attend_in_parts(query, key, value, bias_h, bias_w)
    attend = attend_folded if torch.is_grad_enabled() else attend_fused
    return attend(query, key, value, bias_h, bias_w)


def _windows(qkv: Tensor, bias: Tensor, size: int) -> Tensor:
    """(B, h, w, 3C) -> (windows, size, size, 3C), the grid padded with `bias`."""
    batch, height, width, channels = qkv.shape
    rows, columns = -(-height // size), -(-width // size)
    padded = qkv.new_empty((batch, rows * size, columns * size, channels))
    padded[:, :height, :width] = qkv
    padded[:, height:] = bias
    padded[:, :height, width:] = bias
    split = padded.view(batch, rows, size, columns, size, channels)
    return split.transpose(2, 3).flatten(0, 2)


def _grid(windows: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """(windows, size, size, C) -> (B, h, w, C), the padding cropped."""
    size = windows.shape[1]
    rows, columns = (-(-side // size) for side in grid_hw)
    split = windows.view(-1, rows, columns, size, size, windows.shape[-1]).transpose(2, 3)
    return split.flatten(3, 4).flatten(1, 2)[:, : grid_hw[0], : grid_hw[1]]
