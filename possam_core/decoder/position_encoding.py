"""Where a cell lies on its map, as sines and cosines that attention can compare.

Frequencies as in DETR and Mask2Former: temperature 10000, one period over the map. Half of the
channels are of the row, half of the column.

Axes: C channels, h w feature grid.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class PositionEncoding(Protocol):
    """A function from a grid to the encoding of each of its cells, row by row."""

    def __call__(
        self, height: int, width: int, channels: int, *, device: torch.device | None = None
    ) -> Float[Tensor, "hw C"]:
        """The encodings of `height` times `width` cells."""


def sine_position_encoding(
    height: int, width: int, channels: int, *, device: torch.device | None = None
) -> Float[Tensor, "hw C"]:
    """PosSAM's: a cell lies at its centre, so that levels agree; sines and cosines in blocks.

    The order of channels is one that a learned projection can absorb.
    """
    quarter = channels // 4
    frequencies = 10000 ** (-torch.arange(quarter, device=device) / quarter)
    parts = []
    for size in (height, width):
        fractions = (torch.arange(size, device=device) + 0.5)[:, None] / size
        angle = fractions * 2 * math.pi * frequencies
        parts.append(torch.cat([angle.sin(), angle.cos()], dim=-1))  # (size, C/2)
    return _on_grid(parts[0], parts[1])


def far_edge_position_encoding(
    height: int, width: int, channels: int, *, device: torch.device | None = None
) -> Float[Tensor, "hw C"]:
    """Mask2Former's and FC-CLIP's: a cell lies at its far edge; sines and cosines alternate."""
    quarter = channels // 4
    frequencies = 10000 ** (-torch.arange(quarter, device=device) / quarter)
    parts = []
    for size in (height, width):
        fractions = (torch.arange(size, device=device) + 1.0)[:, None] / (size + 1e-6)
        angle = fractions * 2 * math.pi * frequencies
        parts.append(torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1))  # (size, C/2)
    return _on_grid(parts[0], parts[1])


def _on_grid(of_rows: Tensor, of_columns: Tensor) -> Tensor:
    rows = of_rows[:, None].expand(-1, len(of_columns), -1)
    columns = of_columns[None].expand(len(of_rows), -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)
