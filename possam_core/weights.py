"""Checkpoints: safetensors with a JSON header that says what the tensors need to be used.

The header holds the architecture, the vocabulary and names of the training classes (for seen and
unseen), the inference settings they were tuned with, the measured metrics, and a sha256 over the
tensors, which loading checks.
"""

import dataclasses
import difflib
import hashlib
import json
import typing
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from possam_core.errors import CheckpointError, PossamError
from possam_core.model import InferenceConfig, ModelCard, PosSAM, PosSAMConfig
from possam_core.vocabulary import Vocabulary

FORMAT_VERSION = 1
HEADER_KEY = "possam"
SUFFIX = ".safetensors"

T = TypeVar("T")


class _Header(NamedTuple):
    config: PosSAMConfig
    card: ModelCard
    tensors_sha256: str


def bundled_models() -> tuple[str, ...]:
    """Names of the checkpoints that ship in the package."""
    folder = resources.files("possam_core") / "checkpoints"
    return tuple(
        sorted(f.name.removesuffix(SUFFIX) for f in folder.iterdir() if f.name.endswith(SUFFIX))
    )


def resolve_model(model: str) -> Path:
    """The file behind a bundled name or a local path, in that order; nothing is downloaded.

    Raises:
        CheckpointError: there is no such file; the message proposes the nearest bundled name.
    """
    bundled = bundled_models()
    if model in bundled:
        return Path(str(resources.files("possam_core") / "checkpoints" / f"{model}{SUFFIX}"))
    if Path(model).is_file():
        return Path(model)
    near = difflib.get_close_matches(model, bundled, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "check the name or the path"
    raise CheckpointError(
        f"expected a bundled model ({', '.join(bundled)}) or the path of a checkpoint, got"
        f" {model!r}; {hint}"
    )


def model_fingerprint(model: str) -> str:
    """sha256 of the checkpoint file."""
    with resolve_model(model).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_vocabulary(model: str) -> Vocabulary:
    """The checkpoint's own vocabulary, from its header alone."""
    return _read_header(resolve_model(model)).card.vocabulary


def load_model(model: str) -> PosSAM:
    """Read and verify a checkpoint; the model is on the CPU, in eval mode.

    Raises:
        CheckpointError: unknown name, damaged file, or parts that do not fit this code.
    """
    path = resolve_model(model)
    header = _read_header(path)
    tensors = load_file(path)
    if _tensors_sha256(tensors) != header.tensors_sha256:
        raise CheckpointError(
            f"expected the tensors of {path} to match the sha256 in its header, but they differ:"
            " the file is damaged; copy it again"
        )
    network = PosSAM(header.config, header.card)
    try:
        network.load_state_dict({k: v.float() for k, v in tensors.items()})
    except RuntimeError as error:
        reason = str(error).split("\n\t")[1] if "\n\t" in str(error) else str(error)
        raise CheckpointError(
            f"expected {path} to hold every tensor of its architecture, but it does not"
            f" ({reason}); use a checkpoint written by this version"
        ) from error
    network.fingerprint = model_fingerprint(model)
    return network.eval().requires_grad_(False)


def save_model(path: Path, model: PosSAM) -> None:
    """Write a checkpoint with half-precision tensors, all or nothing."""
    tensors = {k: v.detach().half().contiguous() for k, v in model.state_dict().items()}
    card = model.card
    content = {
        "format_version": FORMAT_VERSION,
        "config": dataclasses.asdict(model.config),
        "vocabulary": {"name": card.vocabulary.name, "classes": card.vocabulary.to_records()},
        "training_names": card.training_names,
        "inference": dataclasses.asdict(card.inference),
        "metrics": card.metrics,
        "sha256": _tensors_sha256(tensors),
    }
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={HEADER_KEY: json.dumps(content)})
    partial.replace(path)


def _read_header(path: Path) -> _Header:
    try:
        with safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {})[HEADER_KEY])
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"expected a PosSAM checkpoint at {path}, but it cannot be read as one"
            f" ({type(error).__name__}: {error}); copy it again or name another"
        ) from error
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"expected checkpoint format {FORMAT_VERSION} in {path}, got {version}; install the"
            " matching version of possam"
        )
    try:
        vocabulary = content["vocabulary"]
        card = ModelCard(
            vocabulary=Vocabulary.from_records(vocabulary["name"], vocabulary["classes"]),
            training_names=tuple(content["training_names"]),
            inference=_build(InferenceConfig, content["inference"]),
            metrics=content["metrics"],
        )
        config = _build(PosSAMConfig, content["config"])
        return _Header(config, card, str(content["sha256"]))
    except (KeyError, TypeError, PossamError) as error:
        raise CheckpointError(
            f"expected the header of {path} to describe a model of this version, but it does not"
            f" ({error}); install the version of possam that wrote it"
        ) from error


def _build(cls: type[T], values: dict[str, Any]) -> T:
    """A (nested) dataclass from the dicts that `dataclasses.asdict` made of it."""
    hints = typing.get_type_hints(cls)
    arguments = {
        name: _build(hints[name], value) if dataclasses.is_dataclass(hints[name]) else value
        for name, value in values.items()
    }
    return cls(**arguments)


def _tensors_sha256(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
