"""The weighted samples of deformable attention as one kernel, in Triton.

Imported only on a GPU, where torch brings Triton along. One program computes one head of `BLOCK`
neighbouring cells of one image: it turns logits into weights, adds offsets to the cells' centres,
reads the four cells around each point and sums them, so that neither places, weights nor samples
are ever in memory. All of it in float32. Its loops
over points are not unrolled: unrolled, the compiler ran out of registers.

Axes: B images, S cells of all levels one after another, M heads, L levels, P points, C channels of
a head, R = M (C + 3 L P) numbers that are projected from a cell.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float
from torch import Tensor

BLOCK = 32  # cells of a program


@triton.jit
def _number(of_cells, of_places, column, exists):  # type: ignore[no-untyped-def]
    """One projected number of each cell."""
    of_cell = tl.load(of_cells + column, exists, 0.0)
    return of_cell + tl.load(of_places + column, exists, 0.0)


@triton.jit  # type: ignore[untyped-decorator]
def _bilinear(  # type: ignore[no-untyped-def]
    values, is_channel, padding, x, y, height, width, exists, ROW: tl.constexpr
):
    """The values at (x, y), in cells of a level; beyond its border and in the padding zero."""
    total = tl.zeros(is_channel.shape, tl.float32) + tl.zeros_like(x)[:, None]
    left, top = tl.floor(x), tl.floor(y)
    for corner in tl.static_range(4):
        column, row = left + corner % 2, top + corner // 2
        is_inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & exists
        # Exact in float32: a level has far fewer than 2^24 cells.
        cell = tl.where(is_inside, row * width + column, 0.0).to(tl.int32)
        is_read = is_inside & (tl.load(padding + cell) == 0)
        at = values + cell.to(tl.int64)[:, None] * ROW
        value = tl.load(at, is_read[:, None] & is_channel, 0.0)
        share = (1 - tl.abs(x - column)) * (1 - tl.abs(y - row))
        total += tl.where(is_read, share, 0.0)[:, None] * value
    return total


@triton.jit  # type: ignore[untyped-decorator]
def _sample(  # type: ignore[no-untyped-def]
    projected, by_place, centres, padding, output, num_cells, heights, widths,
    HEADS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr, CHANNELS: tl.constexpr,
    LANES: tl.constexpr, CELLS: tl.constexpr,
):  # fmt: skip
    SAMPLES: tl.constexpr = LEVELS * POINTS  # of a head
    FIRST_LOGIT: tl.constexpr = 2 * HEADS * SAMPLES
    WIDTH: tl.constexpr = HEADS * CHANNELS
    PLACES: tl.constexpr = 3 * HEADS * SAMPLES
    ROW: tl.constexpr = WIDTH + PLACES
    head, image = tl.program_id(1), tl.program_id(2).to(tl.int64)
    cells = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    exists = cells < num_cells
    channels = tl.arange(0, LANES)[None, :]
    rows = image * num_cells + cells
    of_cells, of_places = projected + rows * ROW + WIDTH, by_place + cells * PLACES
    centre_x = tl.load(centres + 2 * cells, exists, 0.0)
    centre_y = tl.load(centres + 2 * cells + 1, exists, 0.0)
    first = head * SAMPLES
    strongest = _number(of_cells, of_places, FIRST_LOGIT + first, exists)
    for sample in range(1, SAMPLES):
        logit = _number(of_cells, of_places, FIRST_LOGIT + first + sample, exists)
        strongest = tl.maximum(strongest, logit)
    total, all_weights = tl.zeros((CELLS, LANES), tl.float32), tl.zeros((CELLS,), tl.float32)
    start = image * num_cells  # of the level
    for level in tl.static_range(LEVELS):
        height, width = heights[level], widths[level]
        values = projected + start * ROW + head * CHANNELS + channels
        for point in range(POINTS):
            sample = first + level * POINTS + point
            logit = _number(of_cells, of_places, FIRST_LOGIT + sample, exists)
            weight = tl.exp(logit - strongest)
            offset_x = _number(of_cells, of_places, 2 * sample, exists)
            offset_y = _number(of_cells, of_places, 2 * sample + 1, exists)
            x = (centre_x + offset_x / width) * width - 0.5
            y = (centre_y + offset_y / height) * height - 0.5
            sampled = _bilinear(
                values, channels < CHANNELS, padding + start, x, y, height, width, exists, ROW
            )
            total += weight[:, None] * sampled
            all_weights += weight
        start += height * width
    to = output + rows[:, None] * WIDTH + head * CHANNELS + channels
    tl.store(to, total / all_weights[:, None], exists[:, None] & (channels < CHANNELS))


def sample_in_one_kernel(
    projected: Float[Tensor, "B S R"],
    by_place: Float[Tensor, "S _"],
    centres: Float[Tensor, "S 2"],
    padding: Bool[Tensor, "B S"],
    grids_hw: list[tuple[int, int]],
    *,
    num_heads: int,
    num_points: int,
) -> Float[Tensor, "B S _"]:
    """See `deformable_attention.samples_around_cells`; all tensors are contiguous float32."""
    batch, num_cells, row = projected.shape
    width = row - by_place.shape[-1]
    channels = width // num_heads
    output = torch.empty((batch, num_cells, width), dtype=torch.float32, device=projected.device)
    with torch.cuda.device_of(projected):  # type: ignore[no-untyped-call]
        _sample[(triton.cdiv(num_cells, BLOCK), num_heads, batch)](
            projected,
            by_place,
            centres,
            padding.view(torch.uint8),
            output,
            num_cells,
            tuple(height for height, _ in grids_hw),
            tuple(width for _, width in grids_hw),
            HEADS=num_heads,
            LEVELS=len(grids_hw),
            POINTS=num_points,
            CHANNELS=channels,
            LANES=triton.next_power_of_2(channels),
            CELLS=BLOCK,
        )
    return output
