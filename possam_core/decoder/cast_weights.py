"""Weights in half precision that are cast once, instead of by autocast in every call.

Autocast keeps the casts of weights that are trained, and none of frozen ones.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from possam_core.decoder.deformable_attention import MultiScaleDeformableAttention
from possam_core.decoder.fused import is_fused
from possam_core.decoder.mask_decoder import Attention

# Modules whose own weights autocast casts: each is a product.
PRODUCTS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.MultiheadAttention, Attention)


@dataclass(frozen=True, slots=True)
class _Weight:
    """One weight, where it belongs, and the state of it that was cast."""

    module: nn.Module
    name: str
    original: nn.Parameter
    state: tuple[int, int]
    low: nn.Parameter

    def is_current(self) -> bool:
        """Whether the weight is still the one that was cast."""
        weight = self.module._parameters[self.name]
        return weight is self.original and self.state == _state(self.original)


class CastWeights:
    """Casts of the weights of a network's parts, lent to it while it runs in half precision."""

    def __init__(self) -> None:
        self._weights: list[_Weight] = []

    @contextmanager
    def lent(self, parts: Sequence[nn.Module], like: Tensor) -> Iterator[None]:
        """Inside, the products of `parts` have their weights in bfloat16 where autocast would cast.

        That is on a GPU, without gradients and under autocast; elsewhere nothing happens. Weights
        that have changed are cast again; layers that sampling points come from keep float32.

        Args:
            parts: the same ones each time; used by one thread at a time.
            like: a tensor of the input, which says where the network runs.
        """
        if not (is_fused(like) and torch.is_autocast_enabled(like.device.type)):
            yield
            return
        if not (self._weights and all(weight.is_current() for weight in self._weights)):
            self._weights = [_cast(*found) for found in _weights_of(parts)]
        try:
            for weight in self._weights:
                weight.module._parameters[weight.name] = weight.low
            yield
        finally:
            for weight in self._weights:
                weight.module._parameters[weight.name] = weight.original

    def __reduce__(self) -> tuple[type["CastWeights"], tuple[()]]:
        """A copy of a network casts its own weights."""
        return CastWeights, ()


def _weights_of(parts: Sequence[nn.Module]) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    modules = [module for part in parts for module in part.modules()]
    in_float32 = {
        layer
        for module in modules
        if isinstance(module, MultiScaleDeformableAttention)
        for layer in module.before_sampling
    }
    for module in modules:
        if isinstance(module, PRODUCTS) and module not in in_float32:
            for name, weight in module._parameters.items():
                if weight is not None and weight.dtype == torch.float32:
                    yield module, name, weight


def _cast(module: nn.Module, name: str, weight: nn.Parameter) -> _Weight:
    with torch.inference_mode(False), torch.no_grad():
        low = nn.Parameter(weight.to(torch.bfloat16), requires_grad=False)
    return _Weight(module, name, weight, _state(weight), low)


def _state(weight: Tensor) -> tuple[int, int]:
    """Another one after each change in place, and after each move."""
    return (0 if weight.is_inference() else weight._version), weight.data_ptr()
