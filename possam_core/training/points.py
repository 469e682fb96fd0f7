"""Points at which masks are compared instead of on the whole grid (docs/method.md 6).

As in Mask2Former. At full size a mask has 65,536 cells; 12,544 points are enough, most of them
where a mask is undecided. Points are (x, y) as fractions of the canvas and lie on the image, never
on padding.

Axes: L layers, B images, m matched masks of all images together, N rows, P points of a mask,
O candidates, R points that lie anywhere, C maps that share points, S side of the canvas, h w mask
grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from possam_core.device_copies import send

OVERSAMPLE = 3  # candidates for each point
UNDECIDED_SHARE = 0.75  # of the points: the least decided candidates; the rest lie anywhere


@dataclass(frozen=True, slots=True)
class Draws:
    """Points of all layers and images, drawn at once."""

    everywhere: Float[Tensor, "L B P 2"]  # for the matching: the same for all masks of an image
    candidates: Float[Tensor, "L m O 2"]  # for each matched mask
    others: Float[Tensor, "L m R 2"]  # lie anywhere, for each matched mask

    @torch.no_grad()
    def undecided(self, mask_logits: Float[Tensor, "L m h w"]) -> Float[Tensor, "L m P 2"]:
        """Points, most of them where the mask is least decided."""
        num_undecided = self.everywhere.shape[2] - self.others.shape[2]
        candidates = self.candidates.flatten(0, 1)
        doubt = -sample_maps(mask_logits.flatten(0, 1)[:, None], candidates)[:, 0].abs()
        chosen = doubt.topk(num_undecided, dim=1).indices.unsqueeze(-1).expand(-1, -1, 2)
        least = candidates.gather(1, chosen).view(*self.others.shape[:2], num_undecided, 2)
        return torch.cat([least, self.others], dim=2)


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
        self._extent_xy = torch.tensor([[w, h] for h, w in shown_hw]) / ids.shape[-1]
        self._generators = [torch.Generator(ids.device).manual_seed(seed) for seed in seeds]

    @torch.no_grad()
    def draw(self, num_layers: int, num_masks: Sequence[int]) -> Draws:
        """For `num_masks[i]` matched masks of image i in each of the layers.

        One draw an image: layer after layer its points for the matching, its masks' candidates,
        and its masks' other points.
        """
        num_candidates = OVERSAMPLE * self.num_points
        num_others = self.num_points - int(UNDECIDED_SHARE * self.num_points)
        parts: list[tuple[Tensor, ...]] = []
        for generator, count in zip(self._generators, num_masks, strict=True):
            sizes = [self.num_points, count * num_candidates, count * num_others]
            drawn = torch.rand(
                num_layers, sum(sizes), 2, generator=generator, device=self.ids.device
            )
            points, candidates, others = torch.split(drawn, sizes, dim=1)
            parts.append(
                (
                    points.unsqueeze(1),
                    candidates.reshape(num_layers, count, num_candidates, 2),
                    others.reshape(num_layers, count, num_others, 2),
                )
            )
        of_masks = self._extent_xy.repeat_interleave(torch.tensor(num_masks), dim=0)
        extents = send(torch.cat([self._extent_xy, of_masks]), self.ids.device).unsqueeze(1)
        of_images, of_masks = torch.split(extents, [len(self._extent_xy), len(of_masks)])
        everywhere, candidates, others = (torch.cat(p, dim=1) for p in zip(*parts, strict=True))
        return Draws(everywhere * of_images, candidates * of_masks, others * of_masks)

    def found(
        self, images: Int64[Tensor, " N"], points: Float[Tensor, "*L N P 2"]
    ) -> Int64[Tensor, "*L N P"]:
        """The id of the segment at each point; row n lies on image `images[n]`."""
        side = self.ids.shape[-1]
        cells = (points * side).long().clamp(max=side - 1)
        return self.ids[images[:, None], cells[..., 1], cells[..., 0]]


def sample_maps(
    maps: Float[Tensor, "N C h w"], points: Float[Tensor, "N P 2"]
) -> Float[Tensor, "N C P"]:
    """Bilinear samples of each map at the points of its row."""
    grid = 2 * points.unsqueeze(2) - 1  # (N, P, 1, 2)
    samples = functional.grid_sample(
        maps, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return samples[..., 0]
