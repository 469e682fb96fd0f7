"""Names of tensors in Mask2Former's and FC-CLIP's files, and ours for the same tensors.

The one table: FC-CLIP is loaded by it, and so is a warm start of PosSAM's head.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch

HEAD = "sem_seg_head."
CLIP = "backbone.clip_model."
# What files may hold beside the network: the loss's class weights, and a second copy of the tower
# against which another network was trained.
UNUSED = ("criterion.empty_weight", "frozen_backbone.")


class Rule(NamedTuple):
    """One tensor, or with `{i}` in its names one of each layer or level."""

    theirs: str
    ours: str
    axis: int | None = None  # of the query channels, whose order a warm start changes
    is_row: bool = False  # theirs is a matrix of one row, ours that row

    def their_shape(self, our_shape: torch.Size) -> torch.Size:
        """The shape of their tensor."""
        return torch.Size((1, *our_shape)) if self.is_row else our_shape


PREDICTOR, PIXELS = HEAD + "predictor.", HEAD + "pixel_decoder."
CROSS = PREDICTOR + "transformer_cross_attention_layers.{i}."
SELF = PREDICTOR + "transformer_self_attention_layers.{i}."
FFN = PREDICTOR + "transformer_ffn_layers.{i}."
LAYER, ENCODER = "mask_decoder.layers.{i}.", PIXELS + "transformer.encoder.layers.{i}."


def _attention(theirs: str, ours: str, norm: str, norm_index: int) -> list[Rule]:
    return [
        Rule(theirs + "in_proj_weight", ours + "in_proj_weight", 1),
        Rule(theirs + "in_proj_bias", ours + "in_proj_bias"),
        Rule(theirs + "out_proj.weight", ours + "out_proj.weight", 0),
        Rule(theirs + "out_proj.bias", ours + "out_proj.bias", 0),
        *_both(norm, f"{LAYER}norms.{norm_index}", 0),
    ]


def _both(theirs: str, ours: str, axis: int | None = None, *, of_bias: bool = True) -> list[Rule]:
    """Weight and bias; `of_bias` False: the bias has none of the query channels."""
    return [
        Rule(f"{theirs}.weight", f"{ours}.weight", axis),
        Rule(f"{theirs}.bias", f"{ours}.bias", axis if of_bias else None),
    ]


RULES = (
    # The mask decoder.
    Rule(PREDICTOR + "query_feat.weight", "mask_decoder.query_features.weight", 1),
    Rule(PREDICTOR + "query_embed.weight", "mask_decoder.query_positions.weight", 1),
    Rule(PREDICTOR + "level_embed.weight", "mask_decoder.level_embedding.weight", 1),
    *_both(PREDICTOR + "input_proj.{i}", "mask_decoder.input_projections.{i}", 0),
    *_attention(CROSS + "multihead_attn.", LAYER + "cross_attention.", CROSS + "norm", 0),
    *_attention(SELF + "self_attn.", LAYER + "self_attention.", SELF + "norm", 1),
    *_both(FFN + "linear1", LAYER + "ffn.0", 1, of_bias=False),
    *_both(FFN + "linear2", LAYER + "ffn.2", 0),
    *_both(FFN + "norm", LAYER + "norms.2", 0),
    *_both(PREDICTOR + "decoder_norm", "mask_decoder.norm", 0),
    *_both(PREDICTOR + "mask_embed.layers.0", "mask_decoder.mask_embedding.0", 1, of_bias=False),
    *_both(PREDICTOR + "mask_embed.layers.1", "mask_decoder.mask_embedding.2"),
    *_both(PREDICTOR + "mask_embed.layers.2", "mask_decoder.mask_embedding.4"),
    # FC-CLIP's classifier, which is the local part of LDP.
    *_both(PREDICTOR + "_mask_pooling_proj.0", "ldp.norm"),
    *_both(PREDICTOR + "_mask_pooling_proj.1", "ldp.descriptor", 0),
    *_both(PREDICTOR + "class_embed.layers.0", "ldp.mlp.0", 1, of_bias=False),
    *_both(PREDICTOR + "class_embed.layers.1", "ldp.mlp.2"),
    *_both(PREDICTOR + "class_embed.layers.2", "ldp.mlp.4"),
    Rule(PREDICTOR + "logit_scale", "ldp.logit_scale"),
    Rule("void_embedding.weight", "ldp.void", is_row=True),
    # The pixel decoder, on channels of its own.
    *_both(PIXELS + "input_proj.{i}.0", "pixel_decoder.input_projections.{i}.0"),
    *_both(PIXELS + "input_proj.{i}.1", "pixel_decoder.input_projections.{i}.1"),
    Rule(PIXELS + "transformer.level_embed", "pixel_decoder.level_embedding.weight"),
    *(
        rule
        for name in ("sampling_offsets", "attention_weights", "value_proj", "output_proj")
        for rule in _both(
            f"{ENCODER}self_attn.{name}", "pixel_decoder.layers.{i}.attention." + name
        )
    ),
    *_both(ENCODER + "norm1", "pixel_decoder.layers.{i}.norms.0"),
    *_both(ENCODER + "linear1", "pixel_decoder.layers.{i}.ffn.0"),
    *_both(ENCODER + "linear2", "pixel_decoder.layers.{i}.ffn.2"),
    *_both(ENCODER + "norm2", "pixel_decoder.layers.{i}.norms.1"),
    Rule(PIXELS + "adapter_1.weight", "pixel_decoder.lateral.0.weight"),
    *_both(PIXELS + "adapter_1.norm", "pixel_decoder.lateral.1"),
    Rule(PIXELS + "layer_1.weight", "pixel_decoder.output.0.weight"),
    *_both(PIXELS + "layer_1.norm", "pixel_decoder.output.1"),
    *_both(PIXELS + "mask_features", "pixel_decoder.mask_projection"),
)


def rules_for(own: Iterable[str]) -> Iterator[Rule]:
    """The rules of the tensors called `own`, each layer and level by its number."""
    own = set(own)
    numbers = sorted({int(n) for name in own for n in re.findall(r"\.(\d+)\.", name)})
    for rule in RULES:
        for i in numbers if "{i}" in rule.ours else [0]:
            ours = rule.ours.replace("{i}", str(i))
            if ours in own:
                yield rule._replace(theirs=rule.theirs.replace("{i}", str(i)), ours=ours)
