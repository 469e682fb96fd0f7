"""Several operations as one on a GPU, where each launch and each trip to memory costs.

Only without gradients: these have none. Elsewhere the same mathematics runs step by step, and on a
CPU with the same bits as ever.
"""

from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Kept = TypeVar("Kept")


def is_fused(tensor: Tensor) -> bool:
    """Whether what takes this tensor runs as fused operations."""
    return tensor.device.type == "cuda" and not torch.is_grad_enabled()


class Mlp(nn.Sequential):
    """Linear layers with ReLU between them."""

    def __init__(self, *widths: int) -> None:
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        super().__init__(*layers[:-1])

    def forward(self, inputs: Float[Tensor, "*B _"]) -> Float[Tensor, "*B _"]:
        """The last layer's output."""
        if not is_fused(inputs):
            for layer in self:
                inputs = layer(inputs)
            return inputs
        *hidden, last = (layer for layer in self if isinstance(layer, nn.Linear))
        for layer in hidden:
            inputs = linear_relu(layer, inputs)
        output: Tensor = last(inputs)
        return output


def linear_relu(layer: nn.Linear, inputs: Float[Tensor, "*B _"]) -> Float[Tensor, "*B _"]:
    """The ReLU of a linear layer as one product with an epilogue, in the weights' precision."""
    rows = inputs.flatten(0, -2).to(layer.weight.dtype)
    result: Tensor = torch._addmm_activation(layer.bias, rows, layer.weight.t())
    return result.reshape(*inputs.shape[:-1], -1)


def norm_of_sum(
    norm: nn.Module, first: Float[Tensor, "*B C"], second: Float[Tensor, "*B C"]
) -> Float[Tensor, "*B C"]:
    """The layer norm of a residual and what is added to it, in float32 when fused."""
    normed: Tensor
    if is_fused(first):
        assert isinstance(norm, nn.LayerNorm)
        first, second = first.contiguous(), second.contiguous()
        normed = add_norm(first, second, norm.weight, norm.bias, norm.eps)
    else:
        normed = norm(first + second)
    return normed


@torch.library.custom_op("possam::add_norm", mutates_args=())
def add_norm(first: Tensor, second: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """`norm_of_sum` of contiguous tensors; one kernel on a GPU if there is Triton."""
    return functional.layer_norm((first + second).float(), weight.shape, weight, bias, eps)


@add_norm.register_fake
def _(first: Tensor, *_: object) -> Tensor:
    return torch.empty_like(first, dtype=torch.float32)


@add_norm.register_kernel("cuda")
def _(first: Tensor, second: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    if find_spec("triton") is None:
        return functional.layer_norm((first + second).float(), weight.shape, weight, bias, eps)
    from possam_core.decoder.norm_kernel import norm_in_one_kernel

    return norm_in_one_kernel(first, second, weight, bias, eps)


class KeptForShape(Generic[Kept]):
    """What depends on a shape alone, kept until it is asked for another."""

    def __init__(self) -> None:
        self._kept: tuple[object, Kept] | None = None

    def get(self, shape: object, make: Callable[[], Kept]) -> Kept:
        """What `make` gives; it is called if the last one was for another `shape`."""
        kept = self._kept
        if kept is None or kept[0] != shape:
            with torch.inference_mode(False), torch.no_grad():  # training may use them, too
                kept = self._kept = (shape, make())
        return kept[1]

    def __reduce__(self) -> tuple[type["KeptForShape[Kept]"], tuple[()]]:
        """A copy of a network starts with nothing kept."""
        return KeptForShape, ()
