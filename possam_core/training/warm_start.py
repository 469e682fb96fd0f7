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

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from possam_core.encoders.tensor_file import read_tensors
from possam_core.errors import CheckpointError
from possam_core.model import PosSAM
from possam_core.teachers.fc_clip.names import PREDICTOR, rules_for

logger = logging.getLogger(__name__)

BACKBONES = ("backbone.", "frozen_backbone.")  # PosSAM has other encoders
NAMES_SHOWN = 6


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
    found = read_tensors(path, what="decoder")
    own = model.state_dict()
    order = query_order(model.config.decoder.width)
    taken, other, news = [], [], dict[str, Tensor]()
    for rule in rules_for(own):
        if rule.theirs not in found:
            continue
        shape = own[rule.ours].shape
        if found[rule.theirs].shape != rule.their_shape(shape):
            other.append(rule.theirs)
            continue
        tensor = found[rule.theirs].float().reshape(shape)
        news[rule.ours] = tensor if rule.axis is None else tensor.index_select(rule.axis, order)
        taken.append(rule.theirs)
    decoders = {name for name in found if not name.startswith(BACKBONES)}
    learned = {name for name in own if not name.startswith(("sam.", "clip."))}
    if not taken:
        shown = ", ".join(sorted(other or found)[:3])
        raise CheckpointError(
            f"expected decoder weights in Mask2Former's naming and of this size in {path}, but"
            f" nothing fits: it holds {shown or 'nothing'}; leave out init_from or name other"
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
