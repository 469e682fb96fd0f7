"""The number format that a network computes in; importing this module imports no torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

# bfloat16: of a network's encoders and decoders; what is left in float32 then multiplies by TF32.
Precision = Literal["float32", "tf32", "bfloat16"]


@contextmanager
def arithmetic(precision: Precision, device: "torch.device") -> Iterator[None]:
    """Networks compute by `precision` inside; TF32 is a GPU's, a CPU takes it as float32."""
    import torch

    before = torch.get_float32_matmul_precision()
    is_by_tf32 = precision != "float32" and device.type == "cuda"
    if is_by_tf32:
        torch.set_float32_matmul_precision("high")
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            yield
    finally:
        if is_by_tf32:
            torch.set_float32_matmul_precision(before)


def described(precision: Precision, device: "torch.device") -> str:
    """Where and in which numbers a network computes, in a few words."""
    place = "the CPU" if device.type == "cpu" else "a GPU"
    return f"on {place} in {precision}"
