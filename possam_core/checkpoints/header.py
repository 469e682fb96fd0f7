"""The header of a checkpoint: JSON beside its tensors. Tensors are the matter of `weights.py`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from safetensors import SafetensorError, safe_open

from possam_core.errors import CheckpointError

FORMAT_VERSION = 1
HEADER_KEY = "possam"
TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".pkl")
LABELS = "run `possam weights fetch fc-clip` for photographs and name fc-clip, or try possam-tiny"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenWeights:
    """A published encoder that a checkpoint was trained on and does not hold itself."""

    file_name: str
    sha256: str


def read_header(path: Path) -> dict[str, Any]:
    """The JSON beside the tensors.

    Raises:
        CheckpointError: the file is damaged, something else, or of another version.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            content: dict[str, Any] = json.loads((file.metadata() or {})[HEADER_KEY])
    except KeyError as error:
        raise _foreign_weights(path, "the weights of another network") from error
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        if is_zipfile(path) or path.suffix in TORCH_SUFFIXES:
            raise _foreign_weights(path, "weights that torch saved") from error
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
    return content


def frozen_weights(header: dict[str, Any]) -> dict[str, FrozenWeights]:
    """By part, the published encoders that the checkpoint needs; none where it holds them."""
    return {part: FrozenWeights(**record) for part, record in header.get("frozen", {}).items()}


def unfit_header(path: Path, error: Exception) -> CheckpointError:
    """What is said of a header that does not describe a model of this version."""
    return CheckpointError(
        f"expected the header of {path} to describe a model of this version, but it does not"
        f" ({error}); install the version of possam that wrote it"
    )


def _foreign_weights(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        f"expected a PosSAM checkpoint at {path}, got {found}, such as SAM's, CLIP's or FC-CLIP's,"
        f" which are parts of a model; name them in a model file (docs/teachers.md), or {LABELS}"
    )
