"""A warm start from public decoder weights in Mask2Former's naming, or FC-CLIP's.

Tensors that fit by name and shape are loaded; the others keep their initial values, and the log
lists them. Two things differ between their weights and ours:

- Their position encoding alternates sines and cosines, ours has them in blocks. The channels of the
  mask decoder's queries are put into our order, so its attention to positions stays valid. The
  pixel decoder's keep theirs, because its group norms group neighbouring channels: its sampling
  offsets have to be learned again.
- Their mask decoder takes the pixel decoder's maps as they are, ours through a 1x1 convolution,
  which starts as that reordering.

Axes: C channels of the queries.
"""

import io
import logging
import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from safetensors.torch import load_file
from torch import Tensor

from possam_core.errors import CheckpointError
from possam_core.model import PosSAM

logger = logging.getLogger(__name__)

HEAD = "sem_seg_head."
NAMES_SHOWN = 6
# What a pickle of NumPy arrays needs, under its names in all versions of NumPy.
PICKLED = {
    (f"numpy.{core}.multiarray", name)
    for core in ("core", "_core")
    for name in ("_reconstruct", "scalar")
} | {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
}


class _Rule(NamedTuple):
    """Their name, ours, and the index of its axis of query channels."""

    theirs: str
    ours: str
    axis: int | None = None


PREDICTOR, PIXELS = HEAD + "predictor.", HEAD + "pixel_decoder."
CROSS = PREDICTOR + "transformer_cross_attention_layers.{i}."
SELF = PREDICTOR + "transformer_self_attention_layers.{i}."
FFN = PREDICTOR + "transformer_ffn_layers.{i}."
LAYER, ENCODER = "mask_decoder.layers.{i}.", PIXELS + "transformer.encoder.layers.{i}."


def _attention(theirs: str, ours: str, norm: str, norm_index: int) -> list[_Rule]:
    return [
        _Rule(theirs + "in_proj_weight", ours + "in_proj_weight", 1),
        _Rule(theirs + "in_proj_bias", ours + "in_proj_bias"),
        _Rule(theirs + "out_proj.weight", ours + "out_proj.weight", 0),
        _Rule(theirs + "out_proj.bias", ours + "out_proj.bias", 0),
        *_both(norm, f"{LAYER}norms.{norm_index}", 0),
    ]


def _both(theirs: str, ours: str, axis: int | None = None, *, of_bias: bool = True) -> list[_Rule]:
    """Weight and bias; `of_bias` False: the bias has none of the query channels."""
    return [
        _Rule(f"{theirs}.weight", f"{ours}.weight", axis),
        _Rule(f"{theirs}.bias", f"{ours}.bias", axis if of_bias else None),
    ]


RULES = (
    # The mask decoder.
    _Rule(PREDICTOR + "query_feat.weight", "mask_decoder.query_features.weight", 1),
    _Rule(PREDICTOR + "query_embed.weight", "mask_decoder.query_positions.weight", 1),
    _Rule(PREDICTOR + "level_embed.weight", "mask_decoder.level_embedding.weight", 1),
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
    _Rule(PREDICTOR + "logit_scale", "ldp.logit_scale"),
    # The pixel decoder, on channels of its own.
    *_both(PIXELS + "input_proj.{i}.0", "pixel_decoder.input_projections.{i}.0"),
    *_both(PIXELS + "input_proj.{i}.1", "pixel_decoder.input_projections.{i}.1"),
    _Rule(PIXELS + "transformer.level_embed", "pixel_decoder.level_embedding.weight"),
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
    _Rule(PIXELS + "adapter_1.weight", "pixel_decoder.lateral.0.weight"),
    *_both(PIXELS + "adapter_1.norm", "pixel_decoder.lateral.1"),
    _Rule(PIXELS + "layer_1.weight", "pixel_decoder.output.0.weight"),
    *_both(PIXELS + "layer_1.norm", "pixel_decoder.output.1"),
    *_both(PIXELS + "mask_features", "pixel_decoder.mask_projection"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """Which tensors of the file were loaded, and which were not."""

    taken: tuple[str, ...]  # their names
    of_other_shape: tuple[str, ...]
    unknown: tuple[str, ...]  # names without a counterpart, of the decoders
    newly_initialised: tuple[str, ...]  # our names without a counterpart in the file


def load_warm_start(model: PosSAM, path: Path) -> WarmStart:
    """Load the weights in `path` that fit into the decoders of `model`, and log which did.

    Raises:
        CheckpointError: the file cannot be read safely, or nothing in it fits.
    """
    found = read_published_weights(path)
    own = model.state_dict()
    order = query_order(model.config.decoder.width)
    taken, other, news = [], [], dict[str, Tensor]()
    for theirs, ours, axis in _pairs(own):
        if theirs not in found or ours not in own:
            continue
        if found[theirs].shape != own[ours].shape:
            other.append(theirs)
            continue
        tensor = found[theirs].float()
        news[ours] = tensor if axis is None else tensor.index_select(axis, order)
        taken.append(theirs)
    decoders = {name for name in found if name.startswith(HEAD)}
    learned = {name for name in own if not name.startswith(("sam.", "clip."))}
    if not taken:
        shown = ", ".join(sorted(other or found)[:3])
        raise CheckpointError(
            f"expected decoder weights in Mask2Former's naming and of this size in {path}, but"
            f" nothing fits: it holds {shown or 'nothing'}; leave out warm_start or name other"
            " weights"
        )
    if not any("input_proj." in name for name in taken if name.startswith(PREDICTOR)):
        news |= _reordering_projections(own, order)
    model.load_state_dict(news, strict=False)
    report = WarmStart(
        taken=tuple(sorted(taken)),
        of_other_shape=tuple(sorted(other)),
        unknown=tuple(sorted(decoders - set(taken) - set(other))),
        newly_initialised=tuple(sorted(learned - set(news))),
    )
    _log(path, report)
    return report


def query_order(width: int) -> Int64[Tensor, " C"]:
    """The index of their channel for each of ours, for encodings of `width` channels.

    Theirs: sine and cosine of each frequency in turn, of the rows and then of the columns; ours:
    the rows' sines, their cosines, then the columns'.
    """
    quarter = width // 4
    sines = 2 * torch.arange(quarter)
    rows = torch.cat([sines, sines + 1])
    return torch.cat([rows, rows + 2 * quarter])


def read_published_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file as published: `.safetensors`, torch's format, or a pickle of arrays.

    Raises:
        CheckpointError: it cannot be read, or only by running code in it.
    """
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else _unpickle(path)
    except Exception as error:  # a damaged pickle raises anything
        raise CheckpointError(
            f"expected decoder weights at {path}, but they cannot be read safely"
            f" ({type(error).__name__}: {error}); copy the file again or name another"
        ) from error
    weights = content.get("model", content) if isinstance(content, dict) else {}
    return {
        str(name): torch.as_tensor(value)
        for name, value in weights.items()
        if isinstance(value, Tensor | np.ndarray)
    }


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays and plain values, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PICKLED:
            raise pickle.UnpicklingError(
                f"it needs {module}.{name}, which is not allowed in a pickle of arrays"
            )
        return super().find_class(module, name)


def _unpickle(path: Path) -> Any:
    if path.suffix == ".pkl":  # as detectron2 writes them
        return _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    return torch.load(path, map_location="cpu", weights_only=True)


def _pairs(own: Mapping[str, Tensor]) -> Iterator[tuple[str, str, int | None]]:
    """Every rule, for every layer or level that we have."""
    numbers = {int(n) for name in own for n in re.findall(r"\.(\d+)\.", name)}
    for rule in RULES:
        if "{i}" not in rule.ours:
            yield rule
            continue
        for i in sorted(numbers):
            yield rule.theirs.replace("{i}", str(i)), rule.ours.replace("{i}", str(i)), rule.axis


def _reordering_projections(own: Mapping[str, Tensor], order: Tensor) -> dict[str, Tensor]:
    """1x1 convolutions that put the pixel decoder's channels into the order of our queries."""
    pattern = re.compile(r"mask_decoder\.input_projections\.\d+\.weight")
    result = {}
    for name, weight in own.items():
        if pattern.fullmatch(name) and weight.shape[0] == weight.shape[1]:
            result[name] = torch.eye(len(order)).index_select(0, order)[..., None, None]
            bias = name.replace("weight", "bias")
            result[bias] = torch.zeros_like(own[bias])
    return result


def _log(path: Path, report: WarmStart) -> None:
    logger.info("warm start from %s: %d tensors taken", path, len(report.taken))
    for what, names in (
        ("not taken: their shapes differ", report.of_other_shape),
        ("not taken: they have no counterpart", report.unknown),
        ("newly initialised", report.newly_initialised),
    ):
        if names:
            shown = ", ".join(names[:NAMES_SHOWN])
            rest = len(names) - NAMES_SHOWN
            logger.info(
                "%d %s: %s%s", len(names), what, shown, f" and {rest} more" if rest > 0 else ""
            )
