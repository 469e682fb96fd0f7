"""CPU tensors that pose as a GPU's, and count what they would have asked of it.

Code that asks such a tensor for its device hears of a GPU and takes the GPU's branches; the values
are real, so that every branch on them is taken, too. What is counted:

- waits: where the host would stand still until the GPU has caught up. A copy from the GPU or from
  pageable memory, a number or a truth that Python asks for, and every operation whose result has a
  size that only the GPU knows.
- launches: operations that compute or copy on the GPU; neither views nor allocations. Attention
  counts as one, as a fused kernel is.
- bytes: touched by launches, which read their inputs and write their outputs once, and sent home.

Where torch's own C++ code asks for the device, it hears of a CPU: an operation made of others may
be made of others on a GPU.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map_only

GPU = torch.device("cuda")
ROOT = str(Path(__file__).parents[1])
OURS = tuple(f"{ROOT}/{folder}/" for folder in ("possam_core", "pipelines"))

Network = TypeVar("Network", bound=nn.Module)

AUTOCAST = torch.autocast
IS_AUTOCAST_ENABLED = torch.is_autocast_enabled
aten = torch.ops.aten
# Operations whose result's size, or outcome, only the GPU knows, and how often each waits.
WAITS = {
    aten._local_scalar_dense: 1,
    aten.nonzero: 1,
    aten.bincount: 2,
    aten._unique2: 1,
    aten.unique_dim: 1,
    aten.unique_consecutive: 1,
    aten.masked_select: 1,
    aten.equal: 1,
}
ALLOCATIONS = (aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty)
INDEXING = (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)
FROM_VALUES = (torch.tensor, torch.as_tensor, torch.asarray)


@dataclass(slots=True)
class Counts:
    """What was asked of the GPU, by place in our code."""

    waits: Counter[str] = field(default_factory=Counter)
    launches: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)  # launches by name
    casts_of_weights: int = 0
    touched_bytes: int = 0
    home_bytes: int = 0
    weights: set[int] = field(default_factory=set)  # storages of those that are frozen

    @property
    def num_waits(self) -> int:
        """All of them."""
        return self.waits.total()

    @property
    def num_launches(self) -> int:
        """All of them."""
        return self.launches.total()


_counts = Counts()  # of the innermost `counting`


@contextmanager
def counting(*networks: nn.Module) -> Iterator[Counts]:
    """Count what happens inside; the weights of `networks` are the frozen ones.

    If these are on `meta`, so is all that is made inside, and nothing has values.
    """
    global _counts
    outer, _counts = _counts, Counts()
    weights = [_plain(p) for n in networks for p in n.parameters()]
    _counts.weights = {_storage(w) for w in weights}
    has_values = not any(w.is_meta for w in weights)
    try:
        # Tensors of inference mode cannot be wrapped; without gradients all else is the same.
        # Autocast for a GPU does nothing where there is none; that for a CPU casts as much.
        with (
            _Posing("cpu" if has_values else "meta"),
            patch.object(torch, "inference_mode", _inference_mode),
            patch.object(torch, "is_autocast_enabled", lambda _: IS_AUTOCAST_ENABLED("cpu")),
            patch.object(torch, "autocast", _autocast),
            patch.object(torch, "Generator", _Generator),
        ):
            yield _counts
    finally:
        _counts = outer


def pose(value: Tensor) -> Tensor:
    """The tensor, as if it were on a GPU."""
    return value if isinstance(value, PosingTensor) else PosingTensor(value)


def pose_network(network: Network) -> Network:
    """The network itself, with all weights and buffers as if they were on a GPU."""
    for module in network.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                posing = nn.Parameter(pose(weight.detach()), requires_grad=weight.requires_grad)
                module._parameters[name] = posing
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = pose(buffer)
    return network


class PosingTensor(Tensor):
    """A CPU tensor that says it is on a GPU."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "PosingTensor":
        """Wrap `inner`, which nobody else should change."""
        tensor: PosingTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=inner.device,
            requires_grad=inner.requires_grad,
        )
        tensor.inner = inner
        return tensor

    device = property(lambda self: GPU)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]

    def __repr__(self) -> str:  # type: ignore[override]
        """Without its values, which would be a wait."""
        return f"PosingTensor({tuple(self.shape)}, {self.dtype})"

    def data_ptr(self) -> int:
        """Of the values."""
        return self.inner.data_ptr()

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """What Python asks of a tensor that is on a GPU."""
        kwargs = kwargs or {}
        if func is Tensor.numpy:
            raise TypeError("expected a tensor on the CPU, got one on the GPU; call .cpu() first")
        if func is Tensor.tolist:
            return _home(args[0]).tolist()
        if func is Tensor.cpu or (func is Tensor.to and _names_cpu(args[1:], kwargs)):
            return _converted(_home(args[0]), args[1:], kwargs)
        if func is Tensor.to:
            args, kwargs = _without_device(args, kwargs)
        if func is Tensor.__getitem__ and _is_one_place(args[1]):
            return args[0].index_select(0, args[1].reshape(1))[0]
        if func is Tensor.new_tensor:
            _note_wait(1)
            return pose(args[0].inner.new_tensor(*args[1:], **kwargs))
        if func is functional.scaled_dot_product_attention and not _learns(args):
            return _attention(args, kwargs)
        if func is Tensor.repeat_interleave or func is torch.repeat_interleave:
            has_size = kwargs.get("output_size") is not None
            _note_wait(0 if has_size or isinstance(args[1], int) else 1)
        return super().__torch_function__(func, types, args, kwargs)

    @classmethod
    def __torch_dispatch__(
        cls,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute on the CPU, and count."""
        kwargs = kwargs or {}
        given = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        packet = func.overloadpacket
        _note_wait(WAITS.get(packet, 0))
        if packet in INDEXING:
            _note_wait(_waits_of_indices(args))
        elif packet in (aten.copy_, aten._to_copy):
            _note_copy(args)
        else:
            _require_one_device(func, given)
        plain_args, plain_kwargs = tree_map_only(PosingTensor, lambda t: t.inner, (args, kwargs))
        result = func(*plain_args, **plain_kwargs)
        _note_launch(func, given, result)
        named = dict(zip((s.name for s in func._schema.arguments), args, strict=False)) | kwargs
        written = [named[s.name] for s in func._schema.arguments if _is_written(s, named)]
        if written:
            return written[0] if len(written) == 1 else tuple(written)
        return tree_map_only(Tensor, pose, result)


class _Posing(TorchFunctionMode):
    """What Python asks for on the device "cuda", where there is no GPU."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device  # where it is made instead

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.pin_memory:
            args[0].is_posing_pinned = True
            return args[0]
        first = args[0] if args else None
        if isinstance(first, Tensor) and not isinstance(first, PosingTensor):
            if func is Tensor.cuda or (func is Tensor.to and _names_gpu(args[1:], kwargs)):
                is_pinned = getattr(first, "is_posing_pinned", False)
                _note_wait(0 if is_pinned and kwargs.get("non_blocking") else 1)
                plain_args, plain_kwargs = _without_device(args, kwargs)
                _counts.launches[_place()] += 1
                return pose(first.to(*plain_args[1:], **plain_kwargs).clone())
            return func(*args, **kwargs)
        if _is_gpu(kwargs.get("device")):
            if func in FROM_VALUES:
                _note_wait(1)
            with torch._C.DisableTorchFunctionSubclass():
                made = func(*args, **{**kwargs, "device": self.device})
            if func is not torch.empty:
                _counts.launches[_place()] += 1
            return pose(made)
        return func(*args, **kwargs)


def _inference_mode(mode: bool = True) -> AbstractContextManager[None]:
    return torch.no_grad() if mode else nullcontext()


def _autocast(_device_type: str, *args: Any, **kwargs: Any) -> torch.autocast:
    return AUTOCAST("cpu", *args, **kwargs)


class _Generator(torch.Generator):
    """Of the CPU, whichever device is asked for; a class, for annotations name it."""

    def __new__(cls, _device: object = "cpu") -> "_Generator":
        return super().__new__(cls)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.inner if isinstance(tensor, PosingTensor) else tensor


def _storage(tensor: Tensor) -> int:
    """Which one; the address of values would not tell, for tensors on `meta` have none."""
    return int(tensor.untyped_storage()._cdata)


def _is_written(argument: Any, named: dict[str, Any]) -> bool:
    is_written = argument.alias_info is not None and argument.alias_info.is_write
    return is_written and argument.name in named


def _attention(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """One launch, as a fused kernel is."""
    given = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, PosingTensor)]
    plain_args, plain_kwargs = tree_map_only(PosingTensor, lambda t: t.inner, (args, kwargs))
    result = functional.scaled_dot_product_attention(*plain_args, **plain_kwargs)
    _count_launch("scaled_dot_product_attention", given, [result])
    return pose(result)


def _is_one_place(index: object) -> bool:
    """A number on the GPU. Torch would ask a CPU for it; a GPU was seen not to wait."""
    return isinstance(index, PosingTensor) and index.dim() == 0 and index.dtype == torch.int64


def _learns(args: tuple[Any, ...]) -> bool:
    tensors = [x for x in args if isinstance(x, Tensor)]
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def _home(tensor: Tensor) -> Tensor:
    """A copy on the CPU, for which the host waits."""
    assert isinstance(tensor, PosingTensor)
    _note_wait(1)
    _counts.home_bytes += tensor.numel() * tensor.element_size()
    return tensor.detach().inner.clone()  # type: ignore[attr-defined, no-any-return]


def _converted(tensor: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    args, kwargs = _without_device((tensor, *args), kwargs)
    kwargs.pop("memory_format", None)
    return tensor.to(*args[1:], **kwargs) if args[1:] or kwargs else tensor


def _is_gpu(device: object) -> bool:
    return isinstance(device, torch.device | str) and torch.device(device).type == "cuda"


def _names_gpu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(_is_gpu(x) or isinstance(x, PosingTensor) for x in (*args, kwargs.get("device")))


def _names_cpu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    devices = [x for x in (*args, kwargs.get("device")) if isinstance(x, torch.device | str)]
    return any(torch.device(d).type == "cpu" for d in devices)


def _without_device(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    first, *rest = args
    kept = [x for x in rest if not isinstance(x, torch.device | str)]
    kept = [x.dtype if isinstance(x, PosingTensor) else x for x in kept]
    dropped = ("device", "non_blocking")
    return (first, *kept), {k: v for k, v in kwargs.items() if k not in dropped}


def _waits_of_indices(args: tuple[Any, ...]) -> int:
    """Truths are counted first; places that are on the CPU are copied first."""
    indices = [i for i in args[1] if i is not None]
    truths = [i for i in indices if i.dtype in (torch.bool, torch.uint8)]
    values = args[2] if len(args) > 2 else None
    if values is not None and len(truths) == len(indices) == 1 and values.numel() == 1:
        return 0  # fills, without asking where
    return len(truths) + sum(not isinstance(i, PosingTensor) for i in indices)


def _note_copy(args: tuple[Any, ...]) -> None:
    """A copy between the two waits; where from and to the GPU, `.to` and `.cpu` have counted."""
    if len(args) < 2 or not isinstance(args[1], Tensor):
        return
    target, source = args[0], args[1]
    if isinstance(target, PosingTensor) != isinstance(source, PosingTensor):
        is_number = source.dim() == 0 and not isinstance(source, PosingTensor)
        _note_wait(0 if is_number else 1)
        if isinstance(source, PosingTensor):
            _counts.home_bytes += source.numel() * source.element_size()


def _require_one_device(func: Any, given: list[Tensor]) -> None:
    others = [t for t in given if not isinstance(t, PosingTensor) and t.dim() > 0]
    if others:
        raise RuntimeError(f"{func}: expected all tensors on the GPU, got one on the CPU")


def _note_launch(func: Any, given: list[Tensor], result: Any) -> None:
    packet = func.overloadpacket
    if packet in ALLOCATIONS or packet is aten._local_scalar_dense:
        return
    outputs = [x for x in tree_flatten(result)[0] if isinstance(x, Tensor)]
    plain = [_plain(t) for t in given]
    if not func._schema.is_mutable:
        known = {_storage(t) for t in plain}
        if outputs and all(_storage(t) in known for t in outputs):
            return  # a view
    if packet is aten._to_copy and _storage(plain[0]) in _counts.weights:
        _counts.casts_of_weights += 1
    _count_launch(str(packet).removeprefix("aten."), plain, outputs)


def _count_launch(name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    _counts.launches[_place()] += 1
    _counts.operations[name] += 1
    _counts.touched_bytes += sum(t.numel() * t.element_size() for t in (*inputs, *outputs))


def _note_wait(number: int) -> None:
    if number:
        _counts.waits[_place()] += number


def _place() -> str:
    """File, line and function of ours that asks."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        path = frame.f_code.co_filename
        if path.startswith(OURS):
            name = f"{path.removeprefix(ROOT + '/')}:{frame.f_lineno}"
            return f"{name} {frame.f_code.co_name}"
        frame = frame.f_back
    return "elsewhere"
