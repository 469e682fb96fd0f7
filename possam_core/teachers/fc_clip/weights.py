"""FC-CLIP's tensors, under their official names, into the network."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from possam_core.encoders.clip_weights import mismatch
from possam_core.errors import CheckpointError
from possam_core.teachers.fc_clip.names import CLIP, UNUSED, rules_for
from possam_core.teachers.fc_clip.network import FcClip


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTensors:
    """What a file held besides the head."""

    has_clip: bool  # both towers of CLIP; else they have to be loaded from a file of their own
    unused: tuple[str, ...]  # known, and needed for training alone


def check_fc_clip_tensors(
    network: FcClip, tensors: Mapping[str, Tensor], *, source: str
) -> LoadedTensors:
    """Return only if the tensors are those of the network, which may have none of its own yet.

    Args:
        network: of the architecture of the tensors; it may be on torch's device `meta`.
        tensors: by their official names.
        source: what they are from, for messages.

    Raises:
        CheckpointError: a tensor is missing, unknown, of another shape, or holds NaN; the message
            lists them.
    """
    has_clip = any(name.startswith(CLIP) for name in tensors)
    unused = tuple(sorted(name for name in tensors if name.startswith(UNUSED)))
    used = {name: tensor for name, tensor in tensors.items() if name not in unused}
    if wrong := mismatch(their_shapes(network, with_clip=has_clip), used):
        raise CheckpointError(
            f"expected FC-CLIP's tensors in {source}, in the shapes of the architecture, but"
            f" {wrong}; name the file of that architecture, or the architecture of that file"
        )
    return LoadedTensors(has_clip=has_clip, unused=unused)


def load_fc_clip_tensors(
    network: FcClip, tensors: Mapping[str, Tensor], *, source: str
) -> LoadedTensors:
    """Load the head, and CLIP's towers if they are there; nothing is loaded if anything is wrong.

    Args:
        network: of the architecture of the tensors.
        tensors: by their official names.
        source: what they are from, for messages.

    Raises:
        CheckpointError: as for `check_fc_clip_tensors`.
    """
    loaded = check_fc_clip_tensors(network, tensors, source=source)
    own = network.state_dict()
    news = {r.ours: tensors[r.theirs].float().reshape(own[r.ours].shape) for r in rules_for(own)}
    if loaded.has_clip:
        news |= {n: tensors[CLIP + n.removeprefix("clip.clip.")].float() for n in _clip(own)}
    network.load_state_dict(news, strict=loaded.has_clip)
    return loaded


def their_shapes(network: FcClip, *, with_clip: bool) -> dict[str, torch.Size]:
    """The shape of every tensor of the network under its official name."""
    own = network.state_dict()
    shapes = {rule.theirs: rule.their_shape(own[rule.ours].shape) for rule in rules_for(own)}
    if with_clip:
        shapes |= {CLIP + name.removeprefix("clip.clip."): own[name].shape for name in _clip(own)}
    return shapes


def _clip(own: Mapping[str, Tensor]) -> list[str]:
    return [name for name in own if name.startswith("clip.clip.")]
