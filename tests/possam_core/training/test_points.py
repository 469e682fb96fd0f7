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
    found = sample_maps(MAP[None], points)
    torch.testing.assert_close(found, torch.tensor([[[0.0, 1.0, 2.0, 1.5, 0.5]]]))


def test_the_truth_at_a_point_is_the_segment_that_is_there() -> None:
    sampler = make_sampler(torch.tensor([[1, 2], [0, 1]]))
    centres = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    assert sampler.found(torch.tensor([0]), centres[None]).tolist() == [[1, 2, 0, 1]]


def test_no_point_lies_on_the_padding() -> None:
    sampler = make_sampler(torch.ones(4, 4, dtype=torch.long), shown_hw=(2, 1))
    draws = sampler.draw(2, [3])
    undecided = draws.undecided(torch.zeros(2, 3, 2, 2))
    assert draws.everywhere.shape == (2, 1, 40, 2)
    assert undecided.shape == (2, 3, 40, 2)
    points = torch.cat([draws.everywhere, undecided], dim=1)
    assert float(points[..., 0].max()) <= 1 / 4  # x, as a share of the canvas
    assert float(points[..., 1].max()) <= 2 / 4


def test_three_quarters_of_the_points_lie_where_the_mask_is_least_decided() -> None:
    sampler = make_sampler(torch.ones(2, 2, dtype=torch.long))
    decided_right = torch.tensor([[[0.0, 9.0], [0.0, 9.0]]])
    points = sampler.draw(1, [1]).undecided(decided_right[None])
    assert points.shape == (1, 1, 40, 2)
    assert int((points[0, 0, :30, 0] < 0.5).sum()) == 30


def test_points_depend_on_the_seed_alone() -> None:
    ids = torch.ones(2, 2, dtype=torch.long)
    once, again = make_sampler(ids).draw(2, [2]), make_sampler(ids).draw(2, [2])
    torch.testing.assert_close(once.everywhere, again.everywhere)
    torch.testing.assert_close(once.candidates, again.candidates)
    torch.testing.assert_close(once.others, again.others)


def test_points_of_an_image_are_one_stream_layer_after_layer() -> None:
    draws = make_sampler(torch.ones(2, 2, dtype=torch.long), num_points=4).draw(2, [1])
    stream = torch.rand(2, 4 + 12 + 1, 2, generator=torch.Generator().manual_seed(7))
    expected = torch.cat([draws.everywhere, draws.candidates, draws.others], dim=2)[:, 0]
    torch.testing.assert_close(expected, stream)
