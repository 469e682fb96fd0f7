"""Multi-scale deformable attention: each query samples a few learned points on every level.

The reference form in plain PyTorch (Deformable DETR, equation 3; docs/method.md 2.3). Points are
fractions of the canvas: the levels are one square canvas at several strides, so (x, y) is the same
place in all of them, whatever part of the canvas an image fills. Implementations that pad each
batch differently rescale points by a valid ratio per level; here that would only add the rounding
of the valid area to whole cells. Instead, the values of padding cells are zero.

Axes: B images, Q queries, S cells of all levels one after another, M heads, L levels, P points,
C channels, h w grid of one level.
"""

import math
from collections.abc import Sequence
from importlib.util import find_spec

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from possam_core.decoder.fused import is_fused
from possam_core.errors import ConfigError


def cell_centres(grids_hw: Sequence[tuple[int, int]], device: torch.device) -> Float[Tensor, "S 2"]:
    """The centre (x, y) of every cell of every level, as fractions of the canvas."""
    levels = []
    for height, width in grids_hw:
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        levels.append(torch.cartesian_prod(y, x).flip(-1))  # (hw, 2)
    return torch.cat(levels)


def weighted_samples(
    values: Float[Tensor, "B S M C"],
    grids_hw: Sequence[tuple[int, int]],
    locations: Float[Tensor, "B Q M L P 2"],
    weights: Float[Tensor, "B Q M L P"],
) -> Float[Tensor, "B Q M C"]:
    """Sum of bilinear samples of `values` at `locations`, weighted by `weights`.

    Args:
        values: per head; the cells of all levels, row by row, in the order of `grids_hw`.
        grids_hw: rows and columns of each level.
        locations: (x, y) as fractions of the canvas; values beyond its border are zero.
        weights: of each sample; usually they sum to 1 over levels and points.
    """
    batch, num_queries, heads = locations.shape[:3]
    channels = values.shape[-1]
    total = values.new_zeros(batch * heads, channels, num_queries)
    by_level = torch.split(values, [height * width for height, width in grids_hw], dim=1)
    for level, (height, width) in enumerate(grids_hw):
        maps = by_level[level].permute(0, 2, 3, 1).reshape(batch * heads, channels, height, width)
        points = locations[:, :, :, level].permute(0, 2, 3, 1, 4).flatten(0, 1)  # (BM, P, Q, 2)
        samples = functional.grid_sample(
            maps, 2 * points - 1, mode="bilinear", padding_mode="zeros", align_corners=False
        )  # (BM, C, P, Q)
        by_point = weights[:, :, :, level].permute(0, 2, 3, 1).flatten(0, 1)  # (BM, P, Q)
        # Summing point by point avoids a copy of the samples, the largest tensor here.
        for point in range(by_point.shape[1]):
            total = total.addcmul(samples[:, :, point], by_point[:, None, point])
    return total.reshape(batch, heads, channels, num_queries).permute(0, 3, 1, 2)


@torch.library.custom_op("possam::samples_around_cells", mutates_args=())
def samples_around_cells(
    projected: Tensor,
    by_place: Tensor,
    centres: Tensor,
    padding: Tensor,
    grids: list[int],
    num_heads: int,
    num_points: int,
) -> Tensor:
    """`weighted_samples` around every cell, from what is projected from cells and their places.

    One kernel on a GPU if there is Triton; without gradients.

    Args:
        projected: (B, S, C + 3 M L P) float32: values, offsets in cells and logits of the weights.
        by_place: (S, 3 M L P), what offsets and logits gain from each cell's place.
        centres: (S, 2), (x, y) as fractions of the canvas.
        padding: (B, S), True where a cell's value counts as zero.
        grids: rows and columns of each level, one after another.
        num_heads: M.
        num_points: P.

    Returns:
        (B, S, C), the heads side by side.
    """
    return _step_by_step(projected, by_place, centres, padding, grids, num_heads, num_points)


@samples_around_cells.register_fake
def _(projected: Tensor, by_place: Tensor, *_: object) -> Tensor:
    return projected.new_empty((*projected.shape[:2], projected.shape[2] - by_place.shape[1]))


@samples_around_cells.register_kernel("cuda")
def _(
    projected: Tensor,
    by_place: Tensor,
    centres: Tensor,
    padding: Tensor,
    grids: list[int],
    num_heads: int,
    num_points: int,
) -> Tensor:
    if find_spec("triton") is None:
        return _step_by_step(projected, by_place, centres, padding, grids, num_heads, num_points)
    from possam_core.decoder.sampling_kernel import sample_in_one_kernel

    return sample_in_one_kernel(
        projected,
        by_place,
        centres,
        padding,
        _pairs(grids),
        num_heads=num_heads,
        num_points=num_points,
    )


def _step_by_step(
    projected: Tensor,
    by_place: Tensor,
    centres: Tensor,
    padding: Tensor,
    grids: list[int],
    num_heads: int,
    num_points: int,
) -> Tensor:
    grids_hw = _pairs(grids)
    num_samples = num_heads * len(grids_hw) * num_points
    width = projected.shape[-1] - 3 * num_samples
    values = projected[..., :width].masked_fill(padding.unsqueeze(-1), 0)
    offsets, logits = torch.split(
        projected[..., width:] + by_place, [2 * num_samples, num_samples], dim=-1
    )
    gathered = weighted_samples(
        values.reshape(*values.shape[:2], num_heads, -1),
        grids_hw,
        *_places_and_weights(offsets, logits, centres, grids_hw, num_heads),
    )
    return gathered.flatten(2).contiguous()


def _pairs(grids: list[int]) -> list[tuple[int, int]]:
    return list(zip(grids[::2], grids[1::2], strict=True))


def _places_and_weights(
    offsets: Tensor,
    logits: Tensor,
    reference_points: Tensor,
    grids_hw: Sequence[tuple[int, int]],
    num_heads: int,
) -> tuple[Tensor, Tensor]:
    """(B, Q, M, L, P, 2) and (B, Q, M, L, P)."""
    shape = (*logits.shape[:2], num_heads, len(grids_hw), -1)
    weights = logits.reshape(*shape[:3], -1).softmax(dim=-1)
    cells = reference_points.new_tensor([(w, h) for h, w in grids_hw])  # (L, 2), xy
    offsets = offsets.reshape(*shape, 2) / cells[:, None]
    locations = reference_points[:, None, None, None] + offsets
    return locations, weights.reshape(shape)


class MultiScaleDeformableAttention(nn.Module):
    """Attention whose keys are `num_points` sampled points on each level, per head."""

    def __init__(self, width: int, *, num_levels: int, num_heads: int, num_points: int) -> None:
        super().__init__()
        if width % num_heads:
            raise ConfigError(
                f"the width of deformable attention must be a multiple of its {num_heads} heads,"
                f" got {width}; change one of them"
            )
        self.num_heads = num_heads
        self.num_levels = num_levels
        self.num_points = num_points
        num_samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(width, num_samples * 2)
        self.attention_weights = nn.Linear(width, num_samples)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.reset_parameters()

    @property
    def before_sampling(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        """The layers of values, offsets and weights: fused, in float32 whatever the precision."""
        return self.value_proj, self.sampling_offsets, self.attention_weights

    def reset_parameters(self) -> None:
        """Initialise to a fixed star: head m samples in direction m, point p at p + 1 cells."""
        angles = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)  # (M, 2), xy
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)  # onto a square
        steps = torch.arange(1, self.num_points + 1)
        star = directions[:, None, None] * steps[:, None]  # (M, 1, P, 2), in cells
        star = star.expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(star.flatten())
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(
        self,
        queries: Float[Tensor, "B Q C"],
        reference_points: Float[Tensor, "Q 2"],
        memory: Float[Tensor, "B S C"],
        grids_hw: Sequence[tuple[int, int]],
        padding: Bool[Tensor, "B S"],
    ) -> Float[Tensor, "B Q C"]:
        """Each query's weighted samples around its reference point.

        Args:
            queries: offsets and weights of the samples are predicted from these.
            reference_points: (x, y) as fractions of the canvas.
            memory: cells of all levels, row by row, in the order of `grids_hw`.
            grids_hw: rows and columns of each level.
            padding: True where a cell of `memory` is padding; its value counts as zero.
        """
        values = self.value_proj(memory).masked_fill(padding.unsqueeze(-1), 0)
        values = values.reshape(*values.shape[:2], self.num_heads, -1)
        weights = self.attention_weights(queries)
        places = _places_and_weights(
            self.sampling_offsets(queries), weights, reference_points, grids_hw, self.num_heads
        )
        gathered = weighted_samples(values, grids_hw, *places)
        output: Tensor = self.output_proj(gathered.flatten(2))
        return output

    def around_cells(
        self,
        cells: Float[Tensor, "B S C"],
        positions: Float[Tensor, "S C"],
        centres: Float[Tensor, "S 2"],
        grids_hw: Sequence[tuple[int, int]],
        padding: Bool[Tensor, "B S"],
    ) -> Float[Tensor, "B S C"]:
        """`forward` from cells and their positions, each around its centre, into the cells.

        Fused, positions are projected once for the batch, and places stay in float32 under
        autocast.
        """
        attended: Tensor
        if not is_fused(cells):
            attended = self(cells + positions, centres, cells, grids_hw, padding)
            return attended
        layers = self.before_sampling
        with torch.autocast(cells.device.type, enabled=False):
            weight = torch.cat([layer.weight for layer in layers])
            bias = torch.cat([layer.bias for layer in layers])
            attended = samples_around_cells(
                functional.linear(cells, weight, bias),
                functional.linear(positions, weight[cells.shape[-1] :]),
                centres,
                padding,
                [side for grid_hw in grids_hw for side in grid_hw],
                self.num_heads,
                self.num_points,
            )
        attended = self.output_proj(attended)
        return attended
