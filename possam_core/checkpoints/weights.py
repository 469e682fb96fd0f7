"""The tensors of a model: loading and saving checkpoints.

A checkpoint is a safetensors file with a JSON header: the architecture, the vocabulary and names of
the training classes (for seen and unseen), the inference settings they were tuned with, the
measured metrics, and a sha256 over the tensors, which loading checks. It holds all tensors, or, as
a head, the learned ones alone; its header then names the published encoders by their sha256.
"""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import safetensors.torch
import torch
from torch import Tensor

from possam_core.checkpoints.calibration_file import CalibrationFile, damaged_calibration
from possam_core.checkpoints.header import (
    FORMAT_VERSION,
    HEADER_KEY,
    FrozenWeights,
    frozen_weights,
    read_header,
    unfit_header,
)
from possam_core.checkpoints.model_file import file_sha256
from possam_core.checkpoints.models import PART_NAMES, ModelParts, resolve_model
from possam_core.encoders.clip import load_clip_weights
from possam_core.encoders.sam import load_sam_weights
from possam_core.errors import CheckpointError, ConfigError, PossamError
from possam_core.labels.calibration import CalibrationConfig
from possam_core.model import InferenceConfig, ModelCard, PosSAM, PosSAMConfig
from possam_core.vocabulary.vocabulary import Vocabulary

ENCODERS = ("sam.", "clip.")  # prefixes of the tensors that a head leaves out

T = TypeVar("T")


class _Header(NamedTuple):
    config: PosSAMConfig
    card: ModelCard
    tensors_sha256: str
    frozen: dict[str, FrozenWeights]


def load_model(model: str) -> PosSAM:
    """Read and verify a checkpoint and its encoders; the model is on the CPU, in eval mode.

    Raises:
        CheckpointError: unknown name, damaged file, or parts that do not fit together.
    """
    parts = resolve_model(model)
    path = parts.checkpoint
    header = _parse_header(path)
    content = path.read_bytes()
    tensors = safetensors.torch.load(content)
    if _tensors_sha256(tensors) != header.tensors_sha256:
        raise CheckpointError(
            f"expected the tensors of {path} to match the sha256 in its header, but they differ:"
            " the file is damaged; copy it again"
        )
    network = PosSAM(header.config, header.card)
    _load_encoders(network, parts, header.frozen)
    expected = {k for k in network.state_dict() if not (header.frozen and k.startswith(ENCODERS))}
    if wrong := sorted(expected ^ set(tensors)):
        raise CheckpointError(
            f"expected {path} to hold every tensor of its architecture and no other, but"
            f" {', '.join(wrong[:3])} is missing or too much; use a checkpoint written by this"
            " version"
        )
    try:
        network.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
    except RuntimeError as error:
        reason = str(error).split("\n\t")[-1]
        raise CheckpointError(
            f"expected the tensors of {path} in the shapes of its architecture, but they are not"
            f" ({reason}); use a checkpoint written by this version"
        ) from error
    network.fingerprint = hashlib.sha256(content).hexdigest()
    return network.eval().requires_grad_(False)


def save_model(path: Path, model: PosSAM) -> None:
    """Write a checkpoint of all tensors at half precision, all or nothing."""
    _save(path, model, model.state_dict(), frozen={})


def save_head(path: Path, model: PosSAM, *, sam: Path, clip: Path) -> None:
    """Write the learned tensors alone, and which frozen encoders they were trained on.

    Args:
        path: checkpoint to write.
        model: trained.
        sam: the published file that its SAM encoder was loaded from.
        clip: likewise, for both towers of CLIP.
    """
    learned = {k: v for k, v in model.state_dict().items() if not k.startswith(ENCODERS)}
    frozen = {
        part: FrozenWeights(file_name=file.name, sha256=file_sha256(file))
        for part, file in (("sam", sam), ("clip", clip))
    }
    _save(path, model, learned, frozen)


def copy_with_card(source: Path, target: Path, card: ModelCard) -> None:
    """Write the checkpoint `source` to `target` with the same tensors and another card.

    Raises:
        CheckpointError: `source` is damaged or something else.
    """
    content = read_header(source) | _card_record(card)
    _write(target, safetensors.torch.load(source.read_bytes()), content)


def _save(
    path: Path, model: PosSAM, state: dict[str, Tensor], frozen: dict[str, FrozenWeights]
) -> None:
    tensors = {k: v.detach().half().cpu().contiguous() for k, v in state.items()}
    content = {
        "format_version": FORMAT_VERSION,
        "config": dataclasses.asdict(model.config),
        **_card_record(model.card),
        "sha256": _tensors_sha256(tensors),
    }
    if frozen:
        content["frozen"] = {part: dataclasses.asdict(record) for part, record in frozen.items()}
    _write(path, tensors, content)


def _card_record(card: ModelCard) -> dict[str, Any]:
    return {
        "vocabulary": {"name": card.vocabulary.name, "classes": card.vocabulary.to_records()},
        "training_names": card.training_names,
        "inference": dataclasses.asdict(card.inference),
        "metrics": card.metrics,
    }


def _write(path: Path, tensors: dict[str, Tensor], content: dict[str, Any]) -> None:
    """All or nothing."""
    partial = path.with_suffix(".partial")
    safetensors.torch.save_file(tensors, partial, metadata={HEADER_KEY: json.dumps(content)})
    partial.replace(path)


def _parse_header(path: Path) -> _Header:
    content = read_header(path)
    try:
        vocabulary = content["vocabulary"]
        card = ModelCard(
            vocabulary=Vocabulary.from_records(vocabulary["name"], vocabulary["classes"]),
            training_names=tuple(content["training_names"]),
            inference=build_settings(InferenceConfig, content["inference"]),
            metrics=content["metrics"],
        )
        config = build_settings(PosSAMConfig, content["config"])
        return _Header(config, card, str(content["sha256"]), frozen_weights(content))
    except (KeyError, TypeError, PossamError) as error:
        raise unfit_header(path, error) from error


def _load_encoders(network: PosSAM, parts: ModelParts, frozen: dict[str, FrozenWeights]) -> None:
    if parts.sam is None or parts.clip is None:
        return
    for part, file in (("sam", parts.sam), ("clip", parts.clip)):
        found = file_sha256(file)
        if found != frozen[part].sha256:
            raise CheckpointError(
                f"expected the {PART_NAMES[part]} weights that {parts.checkpoint} was trained on"
                f" (sha256 {frozen[part].sha256[:12]}...), got {file} ({found[:12]}...); name the"
                f" file {frozen[part].file_name}"
            )
    load_sam_weights(network.sam, parts.sam)
    load_clip_weights(network.clip, parts.clip)


def build_settings(cls: type[T], values: Mapping[str, Any]) -> T:
    """A (nested) dataclass from the dicts and lists that JSON made of it."""
    hints = typing.get_type_hints(cls)

    def convert(name: str, value: Any) -> Any:
        for hint in (hints[name], *typing.get_args(hints[name])):  # X, or the X of X | None
            if dataclasses.is_dataclass(hint) and value is not None:
                return build_settings(hint, value)  # type: ignore[arg-type]
        return tuple(value) if typing.get_origin(hints[name]) is tuple else value

    return cls(**{name: convert(name, value) for name, value in values.items()})


def build_calibration(file: CalibrationFile) -> CalibrationConfig:
    """What a calibration file says of scores and grades.

    Raises:
        CheckpointError: a setting is missing, unknown or impossible.
    """
    try:
        return build_settings(CalibrationConfig, file.calibration)
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise damaged_calibration(file.path, error) from error


def _tensors_sha256(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
