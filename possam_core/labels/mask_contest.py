"""Which mask wins each pixel of the image, and how many pixels each mask holds.

One mask at a time on a CPU, where a few megabytes that stay in cache beat every mask at full size
several times over; all masks at once on an accelerator, where launches are what costs. Both give
the same pixels.

Axes: N masks in falling order of score, h w mask grid, H W pixels of the image.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32, Int64
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

STABILITY_OFFSET = 1.0  # in logits
MARGIN = 1e-3  # relative and absolute; interpolation and sigmoid round a thousand times finer
TOUCHED_CELLS = 2  # a cell shows in those beside it, and one more keeps the edge of a cut away
# Up to here torch resamples by another formula, whose last bits depend on the number of masks.
MAX_SMALL_PX = 128  # height plus width


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where the image lies on the canvas that the masks cover."""

    canvas_hw: tuple[int, int]  # in pixels
    resized_hw: tuple[int, int]  # the image's part of it, at the top left
    image_hw: tuple[int, int]  # the image's own size


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The outcome, on the CPU."""

    winner: Int32[ndarray, "H W"]  # index of the mask; -1 where the strongest is not inside itself
    won_px: Int64[Tensor, " N"]
    inside_px: Int64[Tensor, " N"]  # logit >= 0
    tight_px: Int64[Tensor, " N"]  # logit above STABILITY_OFFSET
    loose_px: Int64[Tensor, " N"]  # logit above -STABILITY_OFFSET


@dataclass(frozen=True, slots=True)
class _Piece:
    """Logits of one mask in a rectangle; outside of it the mask counts for nothing."""

    logits: Float32[Tensor, "H W"]
    top: int  # in pixels
    left: int


def assign_pixels(
    mask_logits: Float[Tensor, "N h w"], scores: Float[Tensor, " N"], frame: Frame
) -> Contest:
    """Give each pixel to the mask with the largest score times sigmoid, the first among equals.

    Args:
        mask_logits: over the canvas, the best score first.
        scores: in [0, 1], falling.
        frame: what to resample to, canvas first and then the image, both bilinear.
    """
    is_small = min(sum(frame.canvas_hw), sum(frame.image_hw)) <= MAX_SMALL_PX
    if not len(mask_logits) or (mask_logits.device.type == "cpu" and not is_small):
        return _one_by_one(mask_logits, scores, frame)
    return _all_at_once(mask_logits, scores, frame)


def resize_logits(mask_logits: Float[Tensor, "N h w"], frame: Frame) -> Float[Tensor, "N H W"]:
    """The logits at the image's size: bilinear, to the canvas first and then to the image.

    Memory: 4 bytes times masks times pixels, of the canvas or the image.
    """
    height, width = frame.resized_hw
    on_canvas = _resize(mask_logits.float(), frame.canvas_hw)
    return _resize(on_canvas[:, :height, :width], frame.image_hw)


def _all_at_once(mask_logits: Tensor, scores: Tensor, frame: Frame) -> Contest:
    """Memory: about 10 bytes times masks times pixels."""
    num_masks = len(mask_logits)
    logits = resize_logits(mask_logits, frame)
    strongest = (scores[:, None, None] * logits.sigmoid()).argmax(dim=0)  # (H, W)
    inside = logits >= 0  # sigmoid >= 0.5
    winner = torch.where(inside.gather(0, strongest[None])[0], strongest, -1)
    num_px = torch.stack(
        [
            torch.bincount(winner.flatten() + 1, minlength=num_masks + 1)[1:],
            inside.flatten(1).sum(dim=1),
            (logits > STABILITY_OFFSET).flatten(1).sum(dim=1),
            (logits > -STABILITY_OFFSET).flatten(1).sum(dim=1),
        ]
    ).cpu()
    return Contest(
        winner=winner.int().cpu().numpy(),
        won_px=num_px[0],
        inside_px=num_px[1],
        tight_px=num_px[2],
        loose_px=num_px[3],
    )


def _one_by_one(mask_logits: Tensor, scores: Tensor, frame: Frame) -> Contest:
    """Memory: some 20 bytes times the pixels of canvas and image, whatever the number of masks."""
    num_masks = len(mask_logits)
    strongest = np.full(frame.image_hw, -1.0, dtype=np.float32)
    # 2 * (index + 1) of the strongest mask, plus one inside of it: later masks have larger codes,
    # so a maximum writes them, several times as fast as a masked assignment.
    codes = np.zeros(frame.image_hw, dtype=np.int32)
    num_px = np.zeros((3, num_masks), dtype=np.int64)
    scores = scores.detach().float().cpu()
    pieces = _pieces(mask_logits, scores.tolist(), frame)
    for index, (piece, score) in enumerate(zip(pieces, scores.numpy(), strict=True)):
        logits = piece.logits.numpy()
        inside = logits >= 0  # sigmoid >= 0.5
        num_px[:, index] = [
            np.count_nonzero(inside),
            np.count_nonzero(logits > STABILITY_OFFSET),
            np.count_nonzero(logits > -STABILITY_OFFSET),
        ]
        height, width = logits.shape
        place = np.s_[piece.top : piece.top + height, piece.left : piece.left + width]
        claims = piece.logits.sigmoid().numpy()
        claims *= score
        code = inside + np.int32(2 * (index + 1))
        code *= claims > strongest[place]
        np.maximum(codes[place], code, out=codes[place])
        np.maximum(strongest[place], claims, out=strongest[place])
    winner = np.where(codes & 1, (codes >> 1) - 1, np.int32(-1))
    return Contest(
        winner=winner,
        won_px=torch.from_numpy(np.bincount(winner.ravel() + 1, minlength=num_masks + 1)[1:]),
        inside_px=torch.from_numpy(num_px[0]),
        tight_px=torch.from_numpy(num_px[1]),
        loose_px=torch.from_numpy(num_px[2]),
    )


def _pieces(mask_logits: Tensor, scores: list[float], frame: Frame) -> Iterator[_Piece]:
    """Each mask at the image's size, in the rectangle where it can change the outcome."""
    for logits, score in zip(mask_logits.detach(), scores, strict=True):
        floor = _floor(score, scores[-1])
        piece = _on_canvas(logits.float(), floor, frame)
        if frame.image_hw != frame.resized_hw:
            piece = _on_image(piece, floor, frame)
        yield piece


def _floor(score: float, least_score: float) -> float:
    """The logit below which a mask of that score changes neither the winners nor a count.

    A mask wins where it is inside, with a claim of at least half the least score: no weaker claim
    can beat it. Where no mask is inside, the pixel is void.
    """
    share = 0.5 * least_score / score if score > 0 else 0.0
    bound = math.log(share / (1 - share)) if share > 0 else -math.inf
    floor = min(bound, -STABILITY_OFFSET)
    return floor - MARGIN * (1 - floor)


def _on_canvas(logits: Tensor, floor: float, frame: Frame) -> _Piece:
    """The image's part of the canvas, or the rectangle of it where the mask rises above `floor`."""
    scale = max(1, frame.canvas_hw[0] // len(logits))
    fits = tuple(scale * side for side in logits.shape) == frame.canvas_hw
    # Other scales round the places that torch samples, so a cut would not give the very same bits.
    if not fits or scale & (scale - 1):
        part = _resize(logits[None], frame.canvas_hw)[0]
        return _Piece(_cut(part, frame.resized_hw), 0, 0)
    above = np.greater(logits.numpy(), floor)
    num_rows, num_columns = logits.shape
    few, enough = MAX_SMALL_PX // (2 * scale) + 1, MAX_SMALL_PX // scale + 1
    at_least = max(few, enough - num_columns), max(few, enough - num_rows)
    rows = _extent(np.flatnonzero(above.any(axis=1)), at_least[0], num_rows)
    columns = _extent(np.flatnonzero(above.any(axis=0)), at_least[1], num_columns)
    cut = logits[rows, columns]
    if not cut.numel():
        return _Piece(cut, 0, 0)
    part = _resize(cut[None], (scale * cut.shape[0], scale * cut.shape[1]))[0]
    top, left = scale * rows.start, scale * columns.start
    height, width = frame.resized_hw
    return _Piece(_cut(part, (max(0, height - top), max(0, width - left))), top, left)


def _on_image(piece: _Piece, floor: float, frame: Frame) -> _Piece:
    """The same at the image's own size."""
    if not piece.logits.numel():
        return _Piece(piece.logits.new_zeros((0, 0)), 0, 0)
    height, width = piece.logits.shape
    part = piece.logits
    if part.shape != frame.resized_hw:
        part = part.new_full(frame.resized_hw, floor)
        part[piece.top : piece.top + height, piece.left : piece.left + width] = piece.logits
    resized = _resize(part[None], frame.image_hw)[0]
    rows = _reach(piece.top, height, frame.resized_hw[0], frame.image_hw[0])
    columns = _reach(piece.left, width, frame.resized_hw[1], frame.image_hw[1])
    return _Piece(resized[rows, columns].contiguous(), rows.start, columns.start)


def _extent(above: Int64[ndarray, " above"], least_cells: int, num_cells: int) -> slice:
    """From the first of some cells to the last, with those they touch, and enough to be large."""
    if not above.size:
        return slice(0, 0)
    stop = min(num_cells, int(above[-1]) + 1 + TOUCHED_CELLS)
    start = max(0, min(int(above[0]) - TOUCHED_CELLS, stop - least_cells))
    return slice(start, min(num_cells, max(stop, start + least_cells)))


def _reach(start: int, length: int, num_from: int, num_to: int) -> slice:
    """Pixels of a line of `num_to` that resampling makes from those at `start` of `num_from`."""
    first = math.floor((start - 0.5) * num_to / num_from - 0.5)
    last = math.ceil((start + length + 0.5) * num_to / num_from - 0.5)
    return slice(max(0, first), min(num_to, last + 1))


def _cut(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return logits[: size[0], : size[1]].contiguous()


def _resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    if logits.shape[-2:] == size:
        return logits  # torch would copy
    return functional.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
