"""Published CLIP weights: tags of `open_clip`, and tensors fitted to its towers."""

import math
from collections.abc import Mapping
from pathlib import Path

import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor
from torch.nn import functional

from possam_core.encoders.tensor_file import value_fault
from possam_core.errors import CheckpointError, one_line

# Keys that only OpenAI's own files hold besides the weights.
OPENAI_EXTRAS = frozenset({"input_resolution", "context_length", "vocab_size"})
POSITIONS = "visual.positional_embedding"
KEYS_SHOWN = 3  # mismatched keys in a message


def fetch_tag(model: str, tag: str, *, quick_gelu: bool, allow_download: bool) -> Path:
    """The local file of a pretrained tag, which `open_clip` downloads if necessary.

    Raises:
        CheckpointError: the model has no such tag, the tag was trained with another activation or
            other pixel values, a download is needed and not allowed, or it failed.
    """
    record = open_clip.get_pretrained_cfg(model, tag)
    if not record:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise CheckpointError(
            f"expected a file or a pretrained tag of {model} ({tags}), got {tag!r}; correct it"
        )
    if record.get("quick_gelu", False) != quick_gelu:
        raise activation_mismatch(f"the tag {tag!r}", model, quick_gelu=quick_gelu)
    pixels = (record.get("mean", OPENAI_DATASET_MEAN), record.get("std", OPENAI_DATASET_STD))
    if pixels != (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD):
        raise CheckpointError(
            f"expected weights trained on OpenAI's pixel mean and deviation, but the tag {tag!r} of"
            f" {model} has others ({pixels[0]}, {pixels[1]}); use another tag"
        )
    if not allow_download:
        raise CheckpointError(
            f"expected a file, got {tag!r}, a tag that may have to be downloaded; set"
            " allow_download to permit it"
        )
    try:
        return Path(open_clip.download_pretrained(record))
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"expected to download the weights {tag!r} of {model}, but it failed"
            f" ({one_line(error)}); fetch the file by hand and name its path"
        ) from error


def activation_mismatch(weights: str, model: str, *, quick_gelu: bool) -> CheckpointError:
    """The error for weights that would load without complaint and give worse results."""
    trained, configured = ("GELU", "QuickGELU") if quick_gelu else ("QuickGELU", "GELU")
    other = model.removesuffix("-quickgelu") if quick_gelu else f"{model}-quickgelu"
    advice = f"use the model {other!r}" if other in open_clip.list_models() else "use other weights"
    return CheckpointError(
        f"expected weights trained with {configured}, which {model} has, but {weights} was trained"
        f" with {trained}; {advice}"
    )


def fit_to_towers(
    tensors: dict[str, Tensor],
    towers: open_clip.CLIP,
    *,
    path: Path,
    model: str | None,
    quick_gelu: bool,
) -> dict[str, Tensor]:
    """The tensors that `towers` loads: exactly its keys, in its shapes.

    Args:
        tensors: read from `path`.
        towers: an `open_clip.CLIP`.
        path: named in messages.
        model: its name in `open_clip`; None: towers of our own shape.
        quick_gelu: whether the model uses this activation.

    Raises:
        CheckpointError: they are of another architecture, or trained with another activation.
    """
    name = model or "this CLIP"
    if OPENAI_EXTRAS & set(tensors) and not quick_gelu:
        raise activation_mismatch(f"{path}, which is OpenAI's,", name, quick_gelu=False)
    tensors = {k: v for k, v in tensors.items() if k not in OPENAI_EXTRAS}
    expected = {k: v.shape for k, v in towers.state_dict().items()}
    if (positions := tensors.get(POSITIONS)) is not None and POSITIONS in expected:
        tensors[POSITIONS] = resize_positions(positions, towers.visual.grid_size)
    if wrong := mismatch(expected, tensors):
        raise CheckpointError(
            f"expected the open_clip weights of {name} in {path}, but {wrong}; name the"
            " file of that model, or the model of that file"
        )
    return tensors


def mismatch(expected: Mapping[str, torch.Size], tensors: Mapping[str, Tensor]) -> str:
    """What of `tensors` is missing, too much, misshapen or no number, in words; empty: they fit."""
    wrong = [(k, "missing") for k in expected if k not in tensors]
    wrong += [(k, "not part of it") for k in tensors if k not in expected]
    wrong += [
        (k, f"of shape {list(tensors[k].shape)} instead of {list(shape)}")
        for k, shape in expected.items()
        if k in tensors and tensors[k].shape != shape
    ]
    if not wrong:
        wrong = [(k, fault) for k in expected if (fault := value_fault(tensors[k]))]
    shown = ", ".join(f"{k} is {what}" for k, what in wrong[:KEYS_SHOWN])
    return shown + (f" and {len(wrong) - KEYS_SHOWN} more" if len(wrong) > KEYS_SHOWN else "")


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embeddings of a ViT (class token, then a square of patches) for another grid.

    Bicubic and antialiased, as `open_clip` does it; unchanged if the grid is the same, or if
    `positions` has another form.
    """
    if positions.ndim != 2:
        return positions
    side = math.isqrt(len(positions) - 1)
    if (side, side) == grid or 1 + side**2 != len(positions):
        return positions
    as_map = positions[1:].T.reshape(1, -1, side, side).float()
    resized = functional.interpolate(as_map, size=grid, mode="bicubic", antialias=True)
    return torch.cat([positions[:1].float(), resized[0].flatten(1).T])
