"""Position encodings against their formulas, cell by cell."""

import math

import torch
from torch.testing import assert_close

from possam_core.decoder.position_encoding import far_edge_position_encoding, sine_position_encoding


def alternating(height: int, width: int, channels: int, *, place: float) -> torch.Tensor:
    """Mask2Former's formula; a cell lies at `place` of its own extent."""
    half = channels // 2
    values = torch.zeros(height, width, channels, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            for i in range(half):
                turn = 10000 ** (2 * (i // 2) / half)
                wave = math.sin if i % 2 == 0 else math.cos
                values[y, x, i] = wave((y + place) / height * 2 * math.pi / turn)
                values[y, x, half + i] = wave((x + place) / width * 2 * math.pi / turn)
    return values.float()


def test_far_edge_positions_are_mask2formers() -> None:
    ours = far_edge_position_encoding(3, 5, 16).reshape(3, 5, 16)
    assert_close(ours, alternating(3, 5, 16, place=1.0), rtol=0, atol=3e-6)  # 1e-6 in the divisor


def test_sine_positions_are_mask2formers_up_to_half_a_cell_and_the_order_of_channels() -> None:
    ours = sine_position_encoding(3, 5, 16).reshape(3, 5, 2, 2, 4)
    in_their_order = ours.transpose(-1, -2).reshape(3, 5, 16)
    assert_close(in_their_order, alternating(3, 5, 16, place=0.5))


def test_positions_differ_between_all_cells() -> None:
    encoding = sine_position_encoding(4, 6, 16)
    assert encoding.shape == (24, 16)
    assert len(encoding.unique(dim=0)) == 24
