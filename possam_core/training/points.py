"""Points at which masks are compared instead of on the whole grid (docs/method.md 6).

As in Mask2Former. At full size a mask has 65,536 cells; 12,544 points are enough, most of them
where a mask is undecided. Points are (x, y) as fractions of the canvas and lie on the image, never
on padding.

Axes: N masks, M true segments of an image, P points, S side of the canvas, h w mask grid.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

OVERSAMPLE = 3  # candidates for each point
UNDECIDED_SHARE = 0.75  # of the points: the least decided candidates; the rest lie anywhere


class PointSampler:
    """Draws points on the images of one batch, and looks up the truth at them."""

    def __init__(
        self,
        ids: Int64[Tensor, "B S S"],
        shown_hw: Sequence[tuple[int, int]],
        seeds: Sequence[int],
        *,
        num_points: int,
    ) -> None:
        """Points of image i depend on `seeds[i]` and on the earlier draws for it.

        Args:
            ids: segment i of an image has id i + 1; 0 is void or padding.
            shown_hw: part of the canvas that each image fills, in pixels.
            seeds: one for each image.
            num_points: of each mask.
        """
        self.ids, self.num_points = ids, num_points
        self._extent_xy = [
            torch.tensor([w, h], device=ids.device) / ids.shape[-1] for h, w in shown_hw
        ]
        self._generators = [torch.Generator(ids.device).manual_seed(seed) for seed in seeds]

    def uniform(self, image: int, num_masks: int) -> Float[Tensor, "N P 2"]:
        """Points anywhere on the image, drawn for each mask separately."""
        return self._draw(image, (num_masks, self.num_points, 2))

    @torch.no_grad()
    def undecided(self, image: int, mask_logits: Float[Tensor, "N h w"]) -> Float[Tensor, "N P 2"]:
        """Points, most of them where the mask is least decided."""
        num_masks = len(mask_logits)
        candidates = self._draw(image, (num_masks, OVERSAMPLE * self.num_points, 2))
        num_undecided = int(UNDECIDED_SHARE * self.num_points)
        doubt = -sample_maps(mask_logits, candidates).abs()
        chosen = doubt.topk(num_undecided, dim=1).indices.unsqueeze(-1).expand(-1, -1, 2)
        anywhere = self._draw(image, (num_masks, self.num_points - num_undecided, 2))
        return torch.cat([candidates.gather(1, chosen), anywhere], dim=1)

    def truth(
        self, image: int, segments: Int64[Tensor, " N"], points: Float[Tensor, "N P 2"]
    ) -> Float[Tensor, "N P"]:
        """1 where a point lies on the segment of its row, else 0."""
        side = self.ids.shape[-1]
        cells = (points * side).long().clamp(max=side - 1)
        found = self.ids[image][cells[..., 1], cells[..., 0]]  # (N, P)
        return (found == segments[:, None] + 1).float()

    def _draw(self, image: int, shape: tuple[int, ...]) -> Tensor:
        drawn = torch.rand(shape, generator=self._generators[image], device=self.ids.device)
        return drawn * self._extent_xy[image]


def sample_maps(
    maps: Float[Tensor, "N h w"], points: Float[Tensor, "N P 2"]
) -> Float[Tensor, "N P"]:
    """Bilinear samples of each map at its points."""
    grid = 2 * points.unsqueeze(2) - 1  # (N, P, 1, 2)
    samples = functional.grid_sample(
        maps.unsqueeze(1), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return samples[:, 0, :, 0]
