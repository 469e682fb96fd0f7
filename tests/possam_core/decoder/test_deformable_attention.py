"""The vectorised form against loops written from the definition."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from possam_core.decoder.deformable_attention import (
    MultiScaleDeformableAttention,
    cell_centres,
    weighted_samples,
)
from possam_core.errors import ConfigError

GRIDS = [(2, 3), (4, 6)]
NUM_CELLS = 2 * 3 + 4 * 6


def bilinear(level: Tensor, x: float, y: float) -> Tensor:
    """One sample of an (h, w, C) level at fractions of the canvas, zero beyond the border."""
    height, width, channels = level.shape
    column, row = x * width - 0.5, y * height - 0.5  # cell centres lie at half a cell
    left, top = math.floor(column), math.floor(row)
    sample = torch.zeros(channels)
    for i in (top, top + 1):
        for j in (left, left + 1):
            if 0 <= i < height and 0 <= j < width:
                sample += (1 - abs(row - i)) * (1 - abs(column - j)) * level[i, j]
    return sample


def sample_one_by_one(
    values: Tensor, grids_hw: list[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """`weighted_samples` by its definition."""
    batch, num_queries, heads, levels, points, _ = locations.shape
    total = torch.zeros(batch, num_queries, heads, values.shape[-1])
    for b in range(batch):
        for m in range(heads):
            start = 0
            for lv in range(levels):
                height, width = grids_hw[lv]
                level = values[b, start : start + height * width, m].reshape(height, width, -1)
                start += height * width
                for q in range(num_queries):
                    for p in range(points):
                        x, y = locations[b, q, m, lv, p].tolist()
                        total[b, q, m] += weights[b, q, m, lv, p] * bilinear(level, x, y)
    return total


def make_attention(width: int = 8) -> MultiScaleDeformableAttention:
    """Two heads, two levels, three points, with random weights in all parameters."""
    torch.manual_seed(0)
    attention = MultiScaleDeformableAttention(width, num_levels=2, num_heads=2, num_points=3)
    torch.nn.init.normal_(attention.sampling_offsets.weight, std=0.5)
    torch.nn.init.normal_(attention.attention_weights.weight)
    return attention


def test_samples_are_weighted_by_the_definition_inside_and_beyond_the_border() -> None:
    torch.manual_seed(0)
    values = torch.randn(2, NUM_CELLS, 2, 3)
    locations = torch.rand(2, 3, 2, 2, 2, 2) * 1.6 - 0.3
    weights = torch.rand(2, 3, 2, 2, 2)
    ours = weighted_samples(values, GRIDS, locations, weights)
    assert_close(ours, sample_one_by_one(values, GRIDS, locations, weights), rtol=1e-5, atol=1e-5)


def test_the_module_follows_the_definition() -> None:
    attention = make_attention()
    queries, memory = torch.randn(2, 5, 8), torch.randn(2, NUM_CELLS, 8)
    points = torch.rand(5, 2)
    padding = torch.rand(2, NUM_CELLS) > 0.7
    with torch.no_grad():
        values = attention.value_proj(memory) * (~padding)[..., None]
        offsets = attention.sampling_offsets(queries).reshape(2, 5, 2, 2, 3, 2)
        weights = attention.attention_weights(queries).reshape(2, 5, 2, 6).softmax(-1)
        locations = torch.empty_like(offsets)
        for level, (height, width) in enumerate(GRIDS):
            for axis, size in enumerate((width, height)):
                reference = points[None, :, None, None, axis]
                locations[:, :, :, level, :, axis] = (
                    reference + offsets[:, :, :, level, :, axis] / size
                )
        gathered = sample_one_by_one(
            values.reshape(2, NUM_CELLS, 2, 4), GRIDS, locations, weights.reshape(2, 5, 2, 2, 3)
        )
        expected = attention.output_proj(gathered.flatten(2))
        ours = attention(queries, points, memory, GRIDS, padding)
    assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_the_content_of_the_padding_changes_nothing() -> None:
    attention = make_attention()
    queries, memory = torch.randn(1, 5, 8), torch.randn(1, NUM_CELLS, 8)
    padding = torch.zeros(1, NUM_CELLS, dtype=torch.bool)
    padding[:, 3:6] = True
    points = torch.rand(5, 2)
    before = attention(queries, points, memory, GRIDS, padding)
    memory[:, 3:6] = 1e6
    assert torch.equal(attention(queries, points, memory, GRIDS, padding), before)


def test_initial_sampling_points_form_a_star_independent_of_the_query() -> None:
    attention = MultiScaleDeformableAttention(8, num_levels=2, num_heads=4, num_points=3)
    offsets = attention.sampling_offsets(torch.randn(1, 1, 8)).reshape(4, 2, 3, 2)
    right_down_left_up = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    for level in range(2):
        for point in range(3):
            assert_close(offsets[:, level, point], (point + 1) * right_down_left_up)
    assert not attention.attention_weights(
        torch.randn(1, 1, 8)
    ).any()  # all points have equal weight


def test_cell_centres_agree_between_levels() -> None:
    centres = cell_centres([(1, 2), (2, 4)], torch.device("cpu"))
    assert centres[:2].tolist() == [[0.25, 0.5], [0.75, 0.5]]
    fine = centres[2:].reshape(2, 4, 2)
    assert fine[:, :2].mean(dim=(0, 1)).tolist() == [0.25, 0.5]  # the four cells under the first


def test_gradients_reach_offsets_weights_and_values() -> None:
    attention = make_attention()
    padding = torch.zeros(1, NUM_CELLS, dtype=torch.bool)
    output = attention(
        torch.randn(1, 5, 8), torch.rand(5, 2), torch.randn(1, NUM_CELLS, 8), GRIDS, padding
    )
    output.square().sum().backward()
    for name, parameter in attention.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_width_not_divisible_by_the_heads_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of its 3 heads, got 8"):
        MultiScaleDeformableAttention(8, num_levels=1, num_heads=3, num_points=1)
