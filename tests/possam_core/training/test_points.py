"""Points worked out by hand on maps of 2 x 2 cells."""

import torch

from possam_core.training.points import PointSampler, sample_maps

MAP = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])


def make_sampler(
    ids: torch.Tensor, shown_hw: tuple[int, int] | None = None, num_points: int = 40
) -> PointSampler:
    side = ids.shape[-1]
    return PointSampler(ids[None], [shown_hw or (side, side)], [7], num_points=num_points)


def test_samples_are_bilinear_between_cell_centres() -> None:
    points = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0.5, 0.25]]])
    torch.testing.assert_close(sample_maps(MAP, points), torch.tensor([[0.0, 1.0, 2.0, 1.5, 0.5]]))


def test_the_truth_at_a_point_is_whether_the_segment_is_there() -> None:
    sampler = make_sampler(torch.tensor([[1, 2], [0, 1]]))
    centres = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    truth = sampler.truth(0, torch.tensor([0, 1]), centres.expand(2, -1, -1))
    assert truth.tolist() == [[1, 0, 0, 1], [0, 1, 0, 0]]


def test_no_point_lies_on_the_padding() -> None:
    sampler = make_sampler(torch.ones(4, 4, dtype=torch.long), shown_hw=(2, 1))
    points = torch.cat([sampler.uniform(0, 3), sampler.undecided(0, torch.zeros(3, 2, 2))], dim=1)
    assert points.shape == (3, 80, 2)
    assert float(points[..., 0].max()) <= 1 / 4  # x, as a share of the canvas
    assert float(points[..., 1].max()) <= 2 / 4


def test_three_quarters_of_the_points_lie_where_the_mask_is_least_decided() -> None:
    sampler = make_sampler(torch.ones(2, 2, dtype=torch.long))
    decided_right = torch.tensor([[[0.0, 9.0], [0.0, 9.0]]])
    points = sampler.undecided(0, decided_right)
    assert points.shape == (1, 40, 2)
    assert int((points[0, :30, 0] < 0.5).sum()) == 30


def test_points_depend_on_the_seed_alone() -> None:
    ids = torch.ones(2, 2, dtype=torch.long)
    torch.testing.assert_close(make_sampler(ids).uniform(0, 2), make_sampler(ids).uniform(0, 2))
