"""FC-CLIP's files as they are published, of the small network of the references."""

from functools import cache
from pathlib import Path

import torch
import yaml
from torch import Tensor

from possam_core.teachers.fc_clip.names import CLIP
from tests.fc_clip_reference import SMALL

ARCHITECTURE = {
    "clip": {
        "embed_dim": 64,
        "timm_model_name": "test_convnext",
        "projection": "mlp",
        "context_length": 77,
        "text_width": 64,
        "text_heads": 4,
        "text_layers": 2,
    },
    "pixel_decoder": {"num_layers": 2},
    "decoder": {"num_queries": 40, "num_layers": 3, "width": 64, "num_heads": 8, "ffn_width": 128},
}
MODEL_FILE = {
    "teacher": "fc-clip",
    "head": "fcclip_small.pth",
    "clip": "clip.bin",
    "short_side": SMALL.short_side,
    "long_side": SMALL.long_side,
    "architecture": ARCHITECTURE,
}


@cache
def tensors() -> dict[str, Tensor]:
    """All tensors of the small network by their official names."""
    return SMALL.tensors(SMALL.network())


def head_tensors() -> dict[str, Tensor]:
    """Those of the published head, and the class weights of its loss."""
    head = {name: tensor for name, tensor in tensors().items() if not name.startswith(CLIP)}
    return head | {"criterion.empty_weight": torch.ones(134)}


def clip_tensors() -> dict[str, Tensor]:
    """Those of CLIP's own file."""
    whole = tensors().items()
    return {name.removeprefix(CLIP): tensor for name, tensor in whole if name.startswith(CLIP)}


def write_fc_clip(folder: Path, **changes: object) -> Path:
    """The model file, with other values for some keys, beside head and tower; None leaves out."""
    content = {"model": head_tensors(), "optimizer": {"state": {}}, "iteration": 368749}
    torch.save(content, folder / "fcclip_small.pth")
    torch.save(clip_tensors(), folder / "clip.bin")
    return write_model_file(folder, **changes)


def write_model_file(folder: Path, **changes: object) -> Path:
    """The model file alone."""
    model_file = folder / "model.yaml"
    content = {k: v for k, v in (MODEL_FILE | changes).items() if v is not None}
    model_file.write_text(yaml.safe_dump(content))
    return model_file
