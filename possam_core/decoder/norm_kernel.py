"""The layer norm of a sum as one kernel, in Triton: a program adds and normalises one row.

Imported only on a GPU, where torch brings Triton along.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor


@triton.jit  # type: ignore[untyped-decorator]
def _norm(  # type: ignore[no-untyped-def]
    first, second, weight, bias, output, eps, WIDTH: tl.constexpr, LANES: tl.constexpr
):
    lanes = tl.arange(0, LANES)
    exists = lanes < WIDTH
    at = tl.program_id(0).to(tl.int64) * WIDTH + lanes
    row = tl.load(first + at, exists, 0.0).to(tl.float32)
    row += tl.load(second + at, exists, 0.0).to(tl.float32)
    centred = tl.where(exists, row - tl.sum(row) / WIDTH, 0.0)
    variance = tl.sum(centred * centred) / WIDTH
    scale = tl.load(weight + lanes, exists, 0.0) / tl.sqrt(variance + eps)
    tl.store(output + at, centred * scale + tl.load(bias + lanes, exists, 0.0), exists)


def norm_in_one_kernel(
    first: Float[Tensor, "*B C"],
    second: Float[Tensor, "*B C"],
    weight: Float[Tensor, " C"],
    bias: Float[Tensor, " C"],
    eps: float,
) -> Float[Tensor, "*B C"]:
    """See `fused.norm_of_sum`; all tensors are contiguous, of either precision."""
    width = first.shape[-1]
    output = torch.empty(first.shape, dtype=torch.float32, device=first.device)
    with torch.cuda.device_of(first):  # type: ignore[no-untyped-call]
        _norm[(first.numel() // width,)](
            first,
            second,
            weight,
            bias,
            output,
            eps,
            WIDTH=width,
            LANES=triton.next_power_of_2(width),
        )
    return output
