"""Torch's counter of FLOPs, with the two products of SAM's fused attention."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

import possam_core.encoders.sam_vit  # noqa: F401 (it makes the operation)


class FlopCounter(FlopCounterMode):
    """Counts silently; biases and softmax are not counted, as nowhere else."""

    def __init__(self) -> None:
        fused = {torch.ops.possam.attend_fused: attention_flops}
        super().__init__(display=False, custom_mapping=fused)


def attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Of shapes (B, A, h, w, D)."""
    shapes = [(*s[:2], s[2] * s[3], s[4]) for s in (query, key, value)]
    return int(sdpa_flop_count(*shapes))
