"""Claiming pixels one mask at a time, on a CPU: only where a mask can change the outcome.

A few megabytes that stay in cache beat every mask at full size several times over.

Axes: N masks, h w mask grid, a b tiles of it, H W pixels of the image.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from numpy import ndarray
from torch import Tensor

from possam_core.labels.frame import Frame, resize_bilinear
from possam_core.labels.win_bounds import MARGIN, TILE, WinBounds, bound_wins

STABILITY_OFFSET = 1.0  # in logits
TOUCHED_CELLS = 2  # a cell shows in those beside it, and one more keeps the edge of a cut away
APART_CELLS = 4  # at any scale, no pixel of the image mixes two pieces
CODE_BITS = 32
# Up to here torch resamples by another formula, whose last bits depend on the number of masks.
MAX_SMALL_PX = 128  # height plus width


@dataclass(frozen=True, slots=True)
class _Piece:
    """Logits of one mask in a rectangle; outside of it the mask changes nothing."""

    mask: int
    logits: Float32[Tensor, "H W"]
    top: int  # in pixels
    left: int


def claim_one_by_one(
    mask_logits: Float[Tensor, "N h w"],
    scores: Float[Tensor, " N"],
    frame: Frame,
    *,
    count_outside: bool,
) -> tuple[Int32[ndarray, "H W"], Int64[ndarray, "4 N"]]:
    """The winner of each pixel, -1 where it is outside of itself, and pixels counted by mask.

    Counted are those where it is the strongest (only if `count_outside`), inside, and inside if it
    is cut higher and lower. Memory: some 30 bytes times the pixels of canvas and image, whatever
    the number of masks.
    """
    num_masks = len(mask_logits)
    # Of the strongest mask: the bits of its claim, which order as claims do, then 2 * (masks from
    # it to the last), plus one inside of it. A maximum keeps the first of equal claims.
    best = np.zeros(frame.image_hw, dtype=np.int64)
    num_px = np.zeros((4, num_masks), dtype=np.int64)
    scores = scores.detach().float().cpu()
    for piece in _pieces(mask_logits, scores, frame, count_outside):
        logits = piece.logits.numpy()
        inside = logits >= 0  # sigmoid >= 0.5
        num_px[1:, piece.mask] = [
            np.count_nonzero(inside),
            np.count_nonzero(logits > STABILITY_OFFSET),
            np.count_nonzero(logits > -STABILITY_OFFSET),
        ]
        height, width = logits.shape
        place = np.s_[piece.top : piece.top + height, piece.left : piece.left + width]
        claims = piece.logits.sigmoid().numpy()
        claims *= scores.numpy()[piece.mask]
        claim = claims.view(np.int32).astype(np.int64)
        claim <<= CODE_BITS
        claim += inside
        claim += 2 * (num_masks - piece.mask)
        np.maximum(best[place], claim, out=best[place])
    codes = best.astype(np.int32)  # the lower half
    strongest = num_masks - (codes >> 1)  # as many as masks where none was looked at
    winner = np.where(codes & 1, strongest, np.int32(-1))
    if count_outside:
        num_px[0] = np.bincount(strongest.ravel(), minlength=num_masks + 1)[:num_masks]
    return winner, num_px


def _pieces(
    mask_logits: Tensor, scores: Tensor, frame: Frame, count_outside: bool
) -> Iterator[_Piece]:
    """Masks that can change the outcome, at the image's size, in the rectangle where they can."""
    mask_logits = mask_logits.detach()
    if not _can_be_cut(mask_logits, frame):
        for mask, logits in enumerate(mask_logits):
            part = resize_bilinear(logits[None].float(), frame.canvas_hw)[0]
            yield from _on_image([_Piece(mask, _cut(part, frame.resized_hw), 0, 0)], 0.0, frame)
        return
    bounds = bound_wins(mask_logits, scores)
    looked_at = _looked_at(bounds, count_outside).numpy()
    scale, grid_hw = frame.canvas_hw[0] // mask_logits.shape[1], mask_logits.shape[1:]
    rectangles = {
        mask: _rectangle(looked_at[mask], scale, (grid_hw[0], grid_hw[1]))
        for mask in np.flatnonzero(looked_at.any(axis=(1, 2))).tolist()
    }
    for sheet in _sheets(rectangles):
        pieces = [_on_canvas(mask_logits[m].float(), m, rectangles[m], frame) for m in sheet]
        yield from _on_image(pieces, float(bounds.least[sheet].min()), frame)


def _can_be_cut(mask_logits: Tensor, frame: Frame) -> bool:
    """Whether resampling a part of the grid gives the very bits of the whole.

    Other scales than powers of two round the places that torch samples.
    """
    scale = frame.canvas_hw[0] // max(1, mask_logits.shape[1])
    fits = tuple(scale * side for side in mask_logits.shape[1:]) == frame.canvas_hw
    return len(mask_logits) > 0 and fits and not scale & (scale - 1)


def _looked_at(bounds: WinBounds, count_outside: bool) -> Bool[Tensor, "N a b"]:
    """Tiles where a mask can win, and if it can be inside itself there, all that count for it.

    Where no mask is inside, the pixel is void whoever is the strongest.
    """
    can_win = bounds.can_win if count_outside else bounds.can_win_inside
    has_pixels = (can_win & (bounds.largest >= -MARGIN)).flatten(1).any(dim=1)
    counts = bounds.largest > -STABILITY_OFFSET - MARGIN
    return can_win | (counts & has_pixels[:, None, None])


def _rectangle(
    looked_at: Bool[ndarray, "a b"], scale: int, grid_hw: tuple[int, int]
) -> tuple[slice, slice]:
    """Rows and columns of cells around the tiles, enough to be large at that scale."""
    few, enough = MAX_SMALL_PX // (2 * scale) + 1, MAX_SMALL_PX // scale + 1
    at_least = max(few, enough - grid_hw[1]), max(few, enough - grid_hw[0])
    rows, columns = np.flatnonzero(looked_at.any(axis=1)), np.flatnonzero(looked_at.any(axis=0))
    return _extent(rows, at_least[0], grid_hw[0]), _extent(columns, at_least[1], grid_hw[1])


def _sheets(rectangles: Mapping[int, tuple[slice, slice]]) -> list[list[int]]:
    """Masks whose rectangles lie apart, so that one resampling serves them all."""
    sheets = list[list[int]]()
    for mask, rectangle in rectangles.items():
        for sheet in sheets:
            if all(_lie_apart(rectangle, rectangles[other]) for other in sheet):
                sheet.append(mask)
                break
        else:
            sheets.append([mask])
    return sheets


def _lie_apart(one: tuple[slice, slice], other: tuple[slice, slice]) -> bool:
    return any(
        a.start >= b.stop + APART_CELLS or b.start >= a.stop + APART_CELLS
        for a, b in zip(one, other, strict=True)
    )


def _on_canvas(logits: Tensor, mask: int, rectangle: tuple[slice, slice], frame: Frame) -> _Piece:
    """The rectangle of cells on the image's part of the canvas."""
    scale = frame.canvas_hw[0] // len(logits)
    cut = logits[rectangle]
    part = resize_bilinear(cut[None], (scale * cut.shape[0], scale * cut.shape[1]))[0]
    top, left = (scale * cells.start for cells in rectangle)
    height, width = frame.resized_hw
    return _Piece(mask, _cut(part, (max(0, height - top), max(0, width - left))), top, left)


def _on_image(pieces: list[_Piece], least: float, frame: Frame) -> Iterator[_Piece]:
    """The same at the image's own size; `least` stands for the logits around the pieces."""
    if frame.image_hw == frame.resized_hw:
        yield from pieces
        return
    sheet = torch.full(frame.resized_hw, least)
    for piece in pieces:
        height, width = piece.logits.shape
        sheet[piece.top : piece.top + height, piece.left : piece.left + width] = piece.logits
    resized = resize_bilinear(sheet[None], frame.image_hw)[0]
    for piece in pieces:
        height, width = piece.logits.shape
        rows = _reach(piece.top, height, frame.resized_hw[0], frame.image_hw[0])
        columns = _reach(piece.left, width, frame.resized_hw[1], frame.image_hw[1])
        part = resized[rows, columns].contiguous()
        yield _Piece(piece.mask, part, rows.start, columns.start)


def _extent(tiles: Int64[ndarray, " tiles"], least_cells: int, num_cells: int) -> slice:
    """Cells from the first tile to the last, with those they touch, and enough to be large."""
    stop = min(num_cells, TILE * (int(tiles[-1]) + 1) + TOUCHED_CELLS)
    start = max(0, min(TILE * int(tiles[0]) - TOUCHED_CELLS, stop - least_cells))
    return slice(start, min(num_cells, max(stop, start + least_cells)))


def _reach(start: int, length: int, num_from: int, num_to: int) -> slice:
    """Pixels of a line of `num_to` that resampling makes from those at `start` of `num_from`."""
    first = math.floor((start - 0.5) * num_to / num_from - 0.5)
    last = math.ceil((start + length + 0.5) * num_to / num_from - 0.5)
    return slice(max(0, first), min(num_to, last + 1))


def _cut(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return logits[: size[0], : size[1]].contiguous()
