"""CLIP's text tower on sentences that begin alike: the beginning is encoded once.

A token of CLIP's text tower depends on those before it alone. Prompts of one template have the same
words before the name, more than half of their tokens, so these need to be encoded only once, and
only the name and what follows it for each prompt. Same numbers as whole prompts, but for rounding.

Axes: N sentences, L tokens, S tokens after the beginning, M heads, C channels of a head, D joint
width.
"""

import open_clip
import torch
from jaxtyping import Float, Int64
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor
from torch.nn import functional

CHUNK = 128  # sentences encoded at once
KeysAndValues = tuple[Tensor, Tensor]  # (N, M, S, C) each


def encode_alike_sentences(
    clip: open_clip.CLIP, tokens: Int64[Tensor, "N L"]
) -> Float[Tensor, "N D"]:
    """L2-normalised embeddings of sentences.

    Those of one length go through the tower together, so nothing is encoded that is only padding.
    """
    ends = tokens.argmax(dim=-1)  # the end of text has the highest id
    is_shared = (tokens == tokens[0]).all(dim=0).int().cumprod(dim=0)  # (L,)
    shared = min(int(is_shared.sum()), int(ends.min()))
    nothing: list[KeysAndValues | None] = [None] * len(clip.transformer.resblocks)
    _, beginning = _encode(clip, tokens[:1, :shared], 0, nothing)
    embeddings = clip.token_embedding.weight.new_empty(len(tokens), clip.ln_final.weight.shape[0])
    for end in sorted(set(ends.tolist())):
        for rows in torch.split((ends == end).nonzero()[:, 0], CHUNK):
            encoded, _ = _encode(clip, tokens[rows, shared : end + 1], shared, beginning)
            embeddings[rows] = encoded[:, -1]
    return functional.normalize(_project(clip, clip.ln_final(embeddings)), dim=-1)


def _encode(
    clip: open_clip.CLIP, tokens: Tensor, start: int, before: list[KeysAndValues | None]
) -> tuple[Tensor, list[KeysAndValues | None]]:
    """The last layer's tokens (N, S, width), and every layer's keys and values of them."""
    x = clip.token_embedding(tokens)
    x = x + clip.positional_embedding[start : start + tokens.shape[1]]
    made: list[KeysAndValues | None] = []
    for block, earlier in zip(clip.transformer.resblocks, before, strict=True):
        x, own = _through(block, x, earlier)
        made.append(own)
    return x, made


def _through(
    block: ResidualAttentionBlock, x: Tensor, before: KeysAndValues | None
) -> tuple[Tensor, KeysAndValues]:
    attention = block.attn
    joint = functional.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = (
        part.reshape(*part.shape[:-1], attention.num_heads, -1).transpose(1, 2)
        for part in joint.chunk(3, dim=-1)
    )  # (N, M, S, C)
    own = (key, value)
    if before is not None:
        key, value = (
            torch.cat([earlier.expand(len(x), -1, -1, -1), later], dim=2)
            for earlier, later in zip(before, own, strict=True)
        )
    length, all_length = query.shape[2], key.shape[2]
    allowed = torch.ones(length, all_length, dtype=torch.bool, device=x.device)
    gathered = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=allowed.tril(all_length - length)
    )
    x = x + block.ls_1(attention.out_proj(gathered.transpose(1, 2).flatten(2)))
    return x + block.ls_2(block.mlp(block.ln_2(x))), own


def _project(clip: open_clip.CLIP, pooled: Tensor) -> Tensor:
    projection = clip.text_projection
    projected: Tensor = projection(pooled) if callable(projection) else pooled @ projection
    return projected
