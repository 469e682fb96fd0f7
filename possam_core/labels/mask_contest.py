"""Which mask wins each pixel of the image, and how many pixels each mask holds.

One mask at a time on a CPU (`mask_pieces`); all masks at once on an accelerator, where launches are
what costs. Both give the same pixels.

Axes: N masks, h w mask grid, H W pixels of the image, R runs of pixels of one winner.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32, Int64
from numpy import ndarray
from torch import Tensor

from possam_core.device_copies import HomeCopy, send
from possam_core.labels.frame import Frame, resize_logits
from possam_core.labels.mask_pieces import MAX_SMALL_PX, STABILITY_OFFSET, claim_one_by_one
from possam_core.labels.masks import column_runs

MAX_RUNS = 2**15  # of an image that come home; photographs have some thousands


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The outcome, on the CPU. What is said of a mask that won no pixel is zero."""

    image_hw: tuple[int, int]
    starts: Int64[ndarray, " R"]  # first pixel of each run, counted down the columns as COCO does
    winners: Int32[ndarray, " R"]  # index of the mask; -1 where the strongest is outside of itself
    won_px: Int64[Tensor, " N"]
    strongest_px: Int64[Tensor, " N"] | None  # inside itself or not; None unless asked for
    inside_px: Int64[Tensor, " N"]  # logit >= 0
    tight_px: Int64[Tensor, " N"]  # logit above STABILITY_OFFSET
    loose_px: Int64[Tensor, " N"]  # logit above -STABILITY_OFFSET

    @classmethod
    def of(
        cls,
        image_hw: tuple[int, int],
        starts: Int64[ndarray, " R"],
        winners: Int32[ndarray, " R"],
        num_px: Int64[Tensor, "4 N"],
        *,
        count_outside: bool,
    ) -> "Contest":
        """The outcome of pixels counted as (strongest, inside, tight, loose)."""
        lengths = np.diff(starts, append=image_hw[0] * image_hw[1])
        won = np.zeros(num_px.shape[1] + 1, np.int64)
        np.add.at(won, winners + 1, lengths)
        won_px = torch.from_numpy(won[1:])
        strongest, inside, tight, loose = num_px * (won_px > 0)
        return cls(
            image_hw=image_hw,
            starts=starts,
            winners=winners,
            won_px=won_px,
            strongest_px=strongest if count_outside else None,
            inside_px=inside,
            tight_px=tight,
            loose_px=loose,
        )

    @property
    def winner(self) -> Int32[ndarray, "H W"]:
        """The winner of each pixel, painted anew."""
        height, width = self.image_hw
        lengths = np.diff(self.starts, append=height * width)
        return np.ascontiguousarray(np.repeat(self.winners, lengths).reshape(width, height).T)


def assign_pixels(
    mask_logits: Float[Tensor, "N h w"],
    scores: Float[Tensor, " N"],
    frame: Frame,
    *,
    count_outside: bool = False,
) -> Contest:
    """Give each pixel to the mask with the largest score times sigmoid, the first among equals.

    Args:
        mask_logits: over the canvas.
        scores: in [0, 1].
        frame: what to resample to, canvas first and then the image, both bilinear.
        count_outside: also count the pixels where a mask is the strongest, inside itself or not.
    """
    is_small = min(sum(frame.canvas_hw), sum(frame.image_hw)) <= MAX_SMALL_PX
    if not len(mask_logits) or (mask_logits.device.type == "cpu" and not is_small):
        winner, num_px = claim_one_by_one(mask_logits, scores, frame, count_outside=count_outside)
        runs = column_runs(winner)
        return Contest.of(
            frame.image_hw, *runs, torch.from_numpy(num_px), count_outside=count_outside
        )
    started = StartedContest(mask_logits, scores, frame, count_outside=count_outside)
    return started.finish(HomeCopy(started.on_device).get())


class StartedContest:
    """All masks at once; nothing waits until what is `on_device` is home, together with more.

    Memory: about 11 bytes times masks times pixels, and 4 bytes a pixel until the end.
    """

    def __init__(
        self,
        mask_logits: Float[Tensor, "N h w"],
        scores: Float[Tensor, " N"],
        frame: Frame,
        *,
        count_outside: bool = False,
    ) -> None:
        """Arguments as for `assign_pixels`; there is a mask."""
        self._image_hw = frame.image_hw
        self._count_outside = count_outside
        logits = resize_logits(mask_logits, frame)
        strongest = (scores[:, None, None] * logits.sigmoid()).argmax(dim=0)  # (H, W)
        above = logits >= _least_logits(logits.device)  # (3, N, H, W)
        num_px = [above.flatten(2).sum(dim=2)]  # inside, tight, loose
        winner = torch.where(above[0].gather(0, strongest[None])[0], strongest, -1)
        if count_outside:
            of_pixels = torch.zeros_like(num_px[0][0])
            one = strongest.new_ones(1).expand(strongest.numel())
            num_px.append(of_pixels.scatter_add_(0, strongest.flatten(), one))
        self._index_type = torch.int16 if len(mask_logits) < 2**15 else torch.int32
        self._columns = winner.T.flatten()  # (H * W,), down the columns
        #: What `finish` needs, to be brought home.
        self.on_device: Sequence[Tensor] = (*self._runs(), *num_px)

    def finish(self, home: Sequence[Tensor]) -> Contest:
        """The outcome.

        Args:
            home: `on_device` on the CPU. Of an image of `MAX_RUNS` or more the map is fetched, too,
                which waits once more.
        """
        starts, winners, num_px, *strongest_px = home
        count = int((starts >= 0).sum())
        if count == MAX_RUNS:
            height, width = self._image_hw
            winner = self._columns.cpu().int().view(width, height).T.contiguous()
            runs = column_runs(winner.numpy())
        else:
            runs = starts[:count].long().numpy(), winners[:count].int().numpy()
        counted = torch.stack([*(strongest_px or [torch.zeros_like(num_px[0])]), *num_px])
        return Contest.of(self._image_hw, *runs, counted, count_outside=self._count_outside)

    def _runs(self) -> tuple[Tensor, Tensor]:
        """Start and winner of the first `MAX_RUNS` runs; the rest of both has start -1."""
        columns = self._columns
        is_start = torch.ones_like(columns, dtype=torch.bool)
        torch.ne(columns[1:], columns[:-1], out=is_start[1:])
        size = min(MAX_RUNS, len(columns))
        starts = torch.nonzero_static(is_start, size=size, fill_value=-1)[:, 0]
        return starts.int(), columns[starts].to(self._index_type)


@cache
def _least_logits(device: torch.device) -> Float32[Tensor, "3 1 1 1"]:
    """From where a pixel is inside, and inside of a mask that is cut higher and lower.

    Both of the latter are the next number above the cut. Kept for the next image.
    """
    cuts = np.array([0, STABILITY_OFFSET, -STABILITY_OFFSET], np.float32)
    least = np.where(cuts == 0, cuts, np.nextafter(cuts, np.float32(np.inf)))
    return send(torch.from_numpy(least), device)[:, None, None, None]
