"""Grids of 16 x 4 cells: a column of four tiles, where the neighbours of a tile count, too."""

import torch

from possam_core.labels.win_bounds import bound_wins


def column(*logits: float) -> torch.Tensor:
    """One logit for each of the four tiles."""
    return torch.tensor(logits).float().repeat_interleave(4)[:, None].expand(16, 4)


def test_a_pixel_may_have_any_logit_of_its_tile_and_those_beside_it() -> None:
    bounds = bound_wins(torch.stack([column(1, -2, 3, 5)]), torch.ones(1))
    assert bounds.largest[0, :, 0].tolist() == [1, 3, 5, 5]
    assert bounds.least[0, :, 0].tolist() == [-2, -2, -2, 3]


def test_a_mask_cannot_win_where_another_surely_claims_more() -> None:
    masks = torch.stack([column(4, 4, 4, -9), column(3, 3, 3, 3)])
    bounds = bound_wins(masks, torch.tensor([0.9, 0.6]))
    assert bounds.can_win[0, :, 0].tolist() == [True, True, True, True]
    assert bounds.can_win[1, :, 0].tolist() == [False, False, True, True]


def test_equal_claims_can_both_win_and_nobody_is_inside_below_zero() -> None:
    masks = torch.stack([column(-7, -7, -7, 1)] * 2)
    bounds = bound_wins(masks, torch.tensor([0.5, 0.5]))
    assert bounds.can_win.all()
    assert bounds.can_win_inside[0, :, 0].tolist() == [False, False, True, True]


def test_a_claim_below_half_of_the_least_score_inside_wins_nothing_that_counts() -> None:
    masks = torch.stack([column(1, -9, -9, -9), column(-5, -5, -5, -5)])
    bounds = bound_wins(masks, torch.tensor([0.5, 0.9]))
    assert bounds.can_win[1].all()  # beside the first mask's border it may be the strongest
    assert not bounds.can_win_inside[1].any()  # but 0.9 * 0.007 is below 0.25
    assert bounds.can_win_inside[0, :, 0].tolist() == [True, True, False, False]


def test_the_last_tile_may_be_smaller() -> None:
    logits = torch.full((1, 17, 5), -1.0)
    logits[0, 16, 4] = 8.0
    bounds = bound_wins(logits, torch.ones(1))
    assert bounds.largest.shape == (1, 5, 2)
    assert bounds.largest[0].tolist() == [[-1, -1]] * 3 + [[8, 8]] * 2
    assert (bounds.least == -1).all()
