"""Files of named tensors as their publishers wrote them, read without running code in them."""

import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from possam_core.errors import CheckpointError, one_line

ZIP_START = b"PK\x03\x04"
WRAPPERS = ("state_dict", "model")  # what training runs and detectron2 keep the tensors under
REASON_LENGTH = 120  # characters of a library's own message
# Torch's own sentences advise to run the code in a file; the reason is what comes after them.
UNPICKLER_REASON = re.compile(
    r"WeightsUnpickler error:\s*(?P<reason>.+?)(?: was not an allowed global|\. Please|\n\n|$)",
    re.S,
)
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


def read_tensors(path: Path, *, what: str) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, one of `torch.save`, or a `.pkl` of arrays, by name.

    A file of `torch.save` is mapped, not read: what is not used stays on the disk.

    Args:
        path: of the file. The tensors may lie in it under `model` or `state_dict`.
        what: the weights that are expected, for messages: "CLIP".

    Raises:
        CheckpointError: the file is missing or damaged, would run code to load, or holds
            anything but named tensors.
    """
    try:
        content = _read(path)
    except CheckpointError:
        raise
    except Exception as error:  # unpickling a damaged file raises almost anything
        is_broken = isinstance(error, OSError | EOFError | SafetensorError) or is_cut_off(path)
        fault = "cannot be read" if is_broken else "is not plain weights, so it was not run"
        reason = why_unreadable(path, error)
        raise CheckpointError(
            f"expected {what} weights in {path}, but it {fault} ({type(error).__name__}:"
            f" {reason}); copy it again or name another"
        ) from error
    if isinstance(content, dict):
        wrapped = (content[key] for key in WRAPPERS if isinstance(content.get(key), dict))
        content = next(wrapped, content)
    return _by_name(content, path)


def why_unreadable(path: Path, error: Exception) -> str:
    """Of a library's message about a file of tensors, the part that says what is wrong with it."""
    if is_cut_off(path):
        return "the file is cut off"
    if (found := UNPICKLER_REASON.search(str(error))) is not None:
        return " ".join(found["reason"].split())[:REASON_LENGTH]
    return one_line(error)[:REASON_LENGTH]


def is_cut_off(path: Path) -> bool:
    """Whether a file of `torch.save` lacks its end, as a download that stopped does."""
    if not path.is_file() or zipfile.is_zipfile(path):
        return False
    with path.open("rb") as file:
        return file.read(len(ZIP_START)) == ZIP_START


def value_fault(tensor: Tensor) -> str:
    """What is wrong with the numbers of a weight, in words; empty: nothing."""
    if (
        tensor.layout != torch.strided
        or tensor.is_meta
        or tensor.is_quantized
        or tensor.is_complex()
        or tensor.dtype == torch.bool
    ):
        return f"no plain tensor of real numbers ({tensor.dtype})"
    if tensor.is_floating_point() and tensor.numel():
        ends = (tensor.float() if tensor.element_size() == 1 else tensor).aminmax()
        if not torch.stack(list(ends)).isfinite().all():
            return "not finite"
    return ""


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    if path.suffix == ".pkl":  # as detectron2 writes them
        return _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    is_zip = zipfile.is_zipfile(path)
    if is_zip and _is_torchscript(path):
        raise CheckpointError(
            f"expected weights in {path}, got a TorchScript archive, which is a program; use"
            " the same weights as .safetensors, or, if you trust the file, run"
            f" torch.save(torch.jit.load({path.name!r}).state_dict(), 'weights.pt') and load"
            " that"
        )
    return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)


def _by_name(content: Any, path: Path) -> dict[str, Tensor]:
    found = content if isinstance(content, dict) else {"": content}
    other = next((n for n, v in found.items() if not isinstance(v, Tensor | np.ndarray)), None)
    if other is not None:
        at = f"{type(found[other]).__name__} under {other!r}" if other else type(content).__name__
        raise CheckpointError(
            f"expected tensors by name in {path}, got {at}; save the model's state_dict"
        )
    return {str(name).removeprefix("module."): torch.as_tensor(v) for name, v in found.items()}


def _is_torchscript(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays and plain values, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PICKLED:
            raise pickle.UnpicklingError(
                f"it needs {module}.{name}, which is not allowed in a pickle of arrays"
            )
        return super().find_class(module, name)
