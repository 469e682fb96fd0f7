"""FC-CLIP from the files that a model file names; all of it is checked before a corpus is touched.

A network on torch's device `meta` has shapes and no values, so checking takes no time to speak of.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from possam_core.arithmetic import Precision
from possam_core.checkpoints.fc_clip_file import OVRCOAT, FcClipFile
from possam_core.encoders.clip import ClipEncoder
from possam_core.encoders.clip_config import ClipConfig, clip_architecture
from possam_core.encoders.clip_weights import fit_to_towers
from possam_core.encoders.tensor_file import read_tensors
from possam_core.errors import CheckpointError, VocabularyError, nearest
from possam_core.teachers.fc_clip.names import CLIP
from possam_core.teachers.fc_clip.network import FcClip, FcClipConfig
from possam_core.teachers.fc_clip.teacher import (
    FC_CLIP_INFERENCE,
    OVRCOAT_INFERENCE,
    FcClipInference,
    FcClipTeacher,
)
from possam_core.teachers.fc_clip.weights import check_fc_clip_tensors, load_fc_clip_tensors
from possam_core.vocabulary.vocabulary import PROMPT_TEMPLATES, Vocabulary

SPECIAL_TOKENS = 2  # start and end of a text

T = TypeVar("T")


def open_fc_clip(
    file: FcClipFile, vocabulary: Vocabulary | None, *, device: str, precision: Precision
) -> FcClipTeacher:
    """The teacher of a model file, on `device`.

    Raises:
        CheckpointError: its files cannot be read, or do not fit together or the architecture.
        ConfigError: the architecture or a size is impossible.
        VocabularyError: there is no vocabulary, or a name of it is too long for CLIP.
    """
    card, config, inference = file.read_card(), read_architecture(file), read_inference(file)
    if vocabulary is None:
        raise VocabularyError(
            f"expected a vocabulary for {card.name}, which has none of its own; name one with"
            " --vocabulary"
        )
    tensors = read_tensors(file.head, what="FC-CLIP")
    network = FcClip(config)
    require_short_names(vocabulary, network.clip)
    loaded = load_fc_clip_tensors(network, tensors, source=str(file.head))
    towers = _read_towers(file, network, tensors, has_own=loaded.has_clip)
    if towers is not None:
        network.clip.clip.load_state_dict(towers)
    network.eval().requires_grad_(False)
    return FcClipTeacher(
        network.to(device), vocabulary, card, inference=inference, precision=precision
    )


def check_fc_clip(file: FcClipFile, vocabulary: Vocabulary) -> None:
    """Return only if `open_fc_clip` would succeed; nothing is computed.

    Raises:
        PossamError: as for `open_fc_clip`; the sha256 of the files is not asked.
    """
    config = read_architecture(file)
    read_inference(file)
    with torch.device("meta"):
        network = FcClip(config)
    require_short_names(vocabulary, network.clip)
    tensors = read_tensors(file.head, what="FC-CLIP")
    loaded = check_fc_clip_tensors(network, tensors, source=str(file.head))
    _read_towers(file, network, tensors, has_own=loaded.has_clip)


def require_short_names(vocabulary: Vocabulary, clip: ClipEncoder) -> None:
    """Return only if CLIP reads every name to its end in every prompt.

    Raises:
        VocabularyError: it does not; the message has the first such name.
    """
    tokenizer = clip.tokenizer
    longest = max(PROMPT_TEMPLATES, key=lambda t: len(tokenizer.encode(t.format(""))))
    room = clip.config.context_length - SPECIAL_TOKENS
    for entry in vocabulary.classes:
        for name in entry.all_names:
            num_tokens = len(tokenizer.encode(longest.format(name)))
            if num_tokens > room:
                raise VocabularyError(
                    f"expected names that CLIP can read, at most {room} tokens in a prompt, but"
                    f" {name!r} of class {entry.name!r} takes {num_tokens}; say it in fewer words"
                )


def read_architecture(file: FcClipFile) -> FcClipConfig:
    """What the model file says; the rest is as published.

    `clip` is a whole configuration, for a tower is another one if a part of it is.

    Raises:
        CheckpointError: a setting is not known.
        ConfigError: a value is impossible.
    """
    values = dict(file.architecture)
    clip = values.pop("clip", None)
    config = _changed(FcClipConfig(), values, file, "architecture")
    if clip is None:
        return config
    return dataclasses.replace(config, clip=_changed(ClipConfig(), clip, file, "architecture.clip"))


def read_inference(file: FcClipFile) -> FcClipInference:
    """Sizes of the model file, rules of its teacher.

    Raises:
        ConfigError: a size is impossible.
    """
    rules = OVRCOAT_INFERENCE if file.teacher == OVRCOAT else FC_CLIP_INFERENCE
    sizes: dict[str, Any] = dict(file.sizes)
    return dataclasses.replace(rules, **sizes)


def _read_towers(
    file: FcClipFile, network: FcClip, head: Mapping[str, Tensor], *, has_own: bool
) -> dict[str, Tensor] | None:
    """CLIP's tensors from a file of their own; None: the head's file has them."""
    if file.clip is None:
        if has_own:
            return None
        raise CheckpointError(
            f"expected CLIP's towers in {file.head}, because {file.path} names no clip, but it"
            " holds the head alone; name the tower as clip, which `possam weights fetch"
            " convnext_large_d_320` gets"
        )
    config = network.config.clip
    towers = fit_to_towers(
        read_tensors(file.clip, what="CLIP"),
        network.clip.clip,
        path=file.clip,
        model=config.model,
        quick_gelu=bool(clip_architecture(config).get("quick_gelu", False)),
    )
    others = [n for n, t in towers.items() if has_own and not torch.equal(t, head[CLIP + n])]
    if others:
        raise CheckpointError(
            f"expected one CLIP, but {file.head} holds towers, and {len(others)} of their tensors"
            f" differ from those in {file.clip}, such as {others[0]}; leave clip out of {file.path}"
            " to use the head's own"
        )
    return towers


def _changed(config: T, values: object, file: FcClipFile, place: str) -> T:
    """`config` with other values, and those of its parts."""
    known = typing.get_type_hints(type(config))
    if not isinstance(values, dict):
        raise CheckpointError(
            f"expected settings by name under {place} in the model file {file.path}, got"
            f" {values!r}; correct it"
        )
    news = dict[str, Any]()
    for name, value in values.items():
        if name not in known:
            hint = nearest(str(name), known, otherwise=f"known are {', '.join(known)}")
            raise CheckpointError(
                f"expected settings of the architecture in the model file {file.path}, got"
                f" {place}.{name}; {hint}"
            )
        part = getattr(config, name)
        is_part = dataclasses.is_dataclass(part)
        news[name] = _changed(part, value, file, f"{place}.{name}") if is_part else value
    return dataclasses.replace(config, **news)  # type: ignore[type-var]
