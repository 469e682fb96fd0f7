"""Copies between the host and an accelerator for which the host does not wait.

There: through pinned memory. Home: all of them in one, with one wait when they are asked for.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor


def send(values: Tensor, device: torch.device) -> Tensor:
    """A copy on `device`; the host does not wait until a GPU has it."""
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    # From pageable memory the host would wait. Pinned memory is kept until the copy is over.
    return values.pin_memory().to(device, non_blocking=True)


class HomeCopy:
    """The copy is queued when this is made; `get` waits until it has arrived.

    Tensors that are on the CPU already stay as they are.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        """Queue the copy of all `tensors`, which are on one device."""
        self._tensors = list(tensors)
        self._home: UInt8[Tensor, " bytes"] | None = None
        self._arrival: torch.cuda.Event | None = None
        if not self._tensors or self._tensors[0].device.type == "cpu":
            return
        packed = torch.cat([t.contiguous().flatten().view(torch.uint8) for t in self._tensors])
        self._home = torch.empty(packed.shape, dtype=torch.uint8).pin_memory()
        self._home.copy_(packed, non_blocking=True)
        if torch.cuda.is_available():
            self._arrival = torch.cuda.current_stream().record_event()

    def get(self) -> list[Tensor]:
        """The tensors on the CPU."""
        if self._home is None:
            return self._tensors
        if self._arrival is not None:
            self._arrival.synchronize()
        packed, first, result = self._home.numpy(), 0, list[Tensor]()
        for tensor in self._tensors:
            last = first + tensor.numel() * tensor.element_size()
            values = np.frombuffer(packed[first:last].tobytes(), dtype=np.uint8).copy()
            result.append(torch.from_numpy(values).view(tensor.dtype).view(tensor.shape))
            first = last
        return result
