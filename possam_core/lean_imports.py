"""Imports what networks are built of without what it never runs here.

torchvision and timm import torch's compiler, for one function and to keep one from being compiled;
open_clip imports the library transformers, for text towers that PosSAM refuses. Together that is
more work than importing torch, in every worker. The folders whose modules import these libraries
import this module first. What of it is used later is imported then, as ever.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from unittest.mock import patch

import torch

COMPILER = "torch._dynamo.utils"
OPTIONAL = "transformers"  # open_clip does without where it is not installed


@contextmanager
def _stand_in(name: str, module: ModuleType | None) -> Iterator[None]:
    """Whoever imports `name` gets `module`, or hears that there is none; unless it is there."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = module  # type: ignore[assignment]  # None: there is none
    try:
        yield
    finally:
        del sys.modules[name]


def _is_compile_supported(device_type: str) -> bool:
    """The compiler's function, looked up when torchvision calls it."""
    from torch._dynamo.utils import is_compile_supported

    return bool(is_compile_supported(device_type))


_compiler = ModuleType(COMPILER)
_compiler.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
with (
    _stand_in(COMPILER, _compiler),
    _stand_in(OPTIONAL, None),
    patch.object(torch.compiler, "disable", lambda function: function),
):
    import open_clip
    import segment_anything
    import timm  # open_clip would do without it in silence

__all__ = ["open_clip", "segment_anything", "timm"]
