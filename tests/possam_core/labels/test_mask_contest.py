"""The two ways of holding a contest must agree to the pixel; some are worked out by hand."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from possam_core.labels.frame import Frame
from possam_core.labels.mask_contest import MAX_RUNS, Contest, StartedContest, assign_pixels
from possam_core.labels.mask_pieces import claim_one_by_one
from possam_core.labels.masks import column_runs


def all_at_once(
    logits: Tensor, scores: Tensor, frame: Frame, *, count_outside: bool = False
) -> Contest:
    started = StartedContest(logits, scores, frame, count_outside=count_outside)
    return started.finish(started.on_device)


def one_by_one(
    logits: Tensor, scores: Tensor, frame: Frame, *, count_outside: bool = False
) -> Contest:
    winner, num_px = claim_one_by_one(logits, scores, frame, count_outside=count_outside)
    return Contest.of(
        frame.image_hw,
        *column_runs(winner),
        torch.from_numpy(num_px),
        count_outside=count_outside,
    )


WAYS = (all_at_once, one_by_one)
SAME_SIZE = Frame(canvas_hw=(4, 4), resized_hw=(4, 4), image_hw=(4, 4))
FRAMES = [
    Frame(canvas_hw=(128, 128), resized_hw=(128, 128), image_hw=(128, 128)),
    Frame(
        canvas_hw=(128, 128), resized_hw=(96, 128), image_hw=(96, 128)
    ),  # the canvas alone is resampled
    Frame(canvas_hw=(128, 128), resized_hw=(96, 128), image_hw=(60, 80)),
    Frame(canvas_hw=(128, 128), resized_hw=(128, 46), image_hw=(190, 67)),
    Frame(canvas_hw=(96, 96), resized_hw=(96, 72), image_hw=(80, 60)),  # six times the grid: rounds
    Frame(
        canvas_hw=(100, 100), resized_hw=(34, 100), image_hw=(66, 194)
    ),  # no whole multiple of the grid
    Frame(canvas_hw=(128, 128), resized_hw=(2, 128), image_hw=(9, 600)),
    Frame(canvas_hw=(512, 512), resized_hw=(400, 512), image_hw=(250, 320)),
    Frame(canvas_hw=(64, 64), resized_hw=(48, 64), image_hw=(480, 640)),  # small
    Frame(canvas_hw=(128, 128), resized_hw=(96, 128), image_hw=(48, 64)),  # small
    Frame(canvas_hw=(8, 8), resized_hw=(6, 8), image_hw=(60, 80)),  # smaller than the grid
]
# Of a grid and a canvas that are not square.
GRIDS_AND_FRAMES = [
    ((24, 40), Frame(canvas_hw=(96, 160), resized_hw=(96, 132), image_hw=(70, 96))),
    ((40, 24), Frame(canvas_hw=(160, 96), resized_hw=(160, 67), image_hw=(240, 101))),
    ((8, 32), Frame(canvas_hw=(32, 128), resized_hw=(30, 128), image_hw=(60, 256))),
    ((32, 8), Frame(canvas_hw=(128, 32), resized_hw=(120, 32), image_hw=(120, 32))),
    ((16, 32), Frame(canvas_hw=(64, 64), resized_hw=(60, 64), image_hw=(120, 128))),  # two scales
    ((24, 40), Frame(canvas_hw=(96, 160), resized_hw=(96, 132), image_hw=(35, 48))),  # small
]


def assert_same(a: Contest, b: Contest) -> None:
    assert (a.winner == b.winner).all()
    assert a.winner.dtype == b.winner.dtype
    for name in ("won_px", "inside_px", "tight_px", "loose_px"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    if a.strongest_px is None or b.strongest_px is None:
        assert a.strongest_px is b.strongest_px
    else:
        assert torch.equal(a.strongest_px, b.strongest_px)


def small_blobs(seed: int, num_masks: int = 12) -> Tensor:
    """Discs that fill a small part of a 16 x 16 grid, far below zero elsewhere."""
    rng = torch.Generator().manual_seed(seed)
    centres = 16 * torch.rand((num_masks, 2, 1, 1), generator=rng)
    places = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"))
    distances = ((places - centres) ** 2).sum(dim=1).sqrt()
    return 4 * (1 + 3 * torch.rand((num_masks, 1, 1), generator=rng) - distances)


def smooth_noise(seed: int, num_masks: int = 12) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    coarse = 6 * torch.randn((1, num_masks, 5, 5), generator=rng)
    return functional.interpolate(coarse, size=(16, 16), mode="bilinear")[0]


def two_levels(seed: int, num_masks: int = 12) -> Tensor:
    """Borders that resample to exactly zero, and many equal claims."""
    return 20.0 * (smooth_noise(seed, num_masks) > 0) - 10.0


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("draw", [small_blobs, smooth_noise, two_levels])
@pytest.mark.parametrize("least_score", [0.0, 0.1, 0.8])
def test_one_mask_at_a_time_gives_the_pixels_ofall_at_once(
    frame: Frame, draw, least_score: float
) -> None:
    for seed in range(3):
        logits = draw(seed)
        scores = torch.linspace(0.9, least_score, len(logits))
        expected = all_at_once(logits, scores, frame)
        assert_same(assign_pixels(logits, scores, frame), expected)
        shuffled = torch.randperm(len(scores), generator=torch.Generator().manual_seed(seed))
        both = logits, scores[shuffled], frame
        expected = all_at_once(*both, count_outside=True)
        assert_same(assign_pixels(*both, count_outside=True), expected)


@pytest.mark.parametrize(("grid", "frame"), GRIDS_AND_FRAMES)
@pytest.mark.parametrize("draw", [small_blobs, smooth_noise])
def test_so_it_does_where_grid_and_canvas_are_not_square(
    grid: tuple[int, int], frame: Frame, draw
) -> None:
    for seed in range(3):
        logits = functional.interpolate(draw(seed)[None], size=grid, mode="bilinear")[0]
        scores = torch.linspace(0.9, 0.2, len(logits))
        contest = all_at_once(logits, scores, frame)
        assert contest.winner.shape == frame.image_hw
        assert_same(assign_pixels(logits, scores, frame), contest)


@pytest.mark.parametrize("count_outside", [False, True])
@pytest.mark.parametrize("image_hw", [(180, 256), (150, 213), (360, 512)])
def test_so_it_does_for_many_masks_of_which_most_win_little(
    image_hw: tuple[int, int], count_outside: bool
) -> None:
    frame = Frame(canvas_hw=(192, 256), resized_hw=(180, 256), image_hw=image_hw)
    rng = torch.Generator().manual_seed(5)
    centres = torch.rand((60, 2, 1, 1), generator=rng) * torch.tensor([48, 64])[:, None, None]
    places = torch.stack(torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij"))
    distances = ((places - centres) ** 2).sum(dim=1).sqrt()
    logits = 2 * (2 + 6 * torch.rand((60, 1, 1), generator=rng) - distances).clamp(min=-8)
    scores = torch.rand(60, generator=rng)
    contest = assign_pixels(logits, scores, frame, count_outside=count_outside)
    assert_same(contest, all_at_once(logits, scores, frame, count_outside=count_outside))
    assert 10 < (contest.won_px > 0).sum() < 60


@pytest.mark.parametrize("hold", WAYS)
def test_the_larger_claim_wins_and_counts_only_where_it_is_inside_its_mask(hold) -> None:
    strong = torch.full((4, 4), -0.5)  # claims 0.34 outside of itself
    strong[:2] = 3.0
    weak = torch.full((4, 4), 0.0)  # claims 0.15: half of its score, and still inside
    contest = hold(torch.stack([strong, weak]), torch.tensor([0.9, 0.3]), SAME_SIZE)
    assert contest.winner.tolist() == [[0] * 4, [0] * 4, [-1] * 4, [-1] * 4]
    assert contest.won_px.tolist() == [8, 0]
    assert contest.inside_px.tolist() == [8, 0]  # nothing is said of a mask that won nothing
    assert contest.tight_px.tolist() == [8, 0]
    assert contest.loose_px.tolist() == [16, 0]
    assert contest.strongest_px is None


@pytest.mark.parametrize("hold", WAYS)
def test_the_first_of_equal_masks_wins(hold) -> None:
    contest = hold(torch.full((3, 4, 4), 2.0), torch.tensor([0.5, 0.5, 0.5]), SAME_SIZE)
    assert (contest.winner == 0).all()
    assert contest.won_px.tolist() == [16, 0, 0]


@pytest.mark.parametrize("hold", WAYS)
def test_among_masks_without_a_score_the_first_wins_even_outside_of_itself(hold) -> None:
    logits = torch.stack([torch.full((4, 4), -5.0), torch.full((4, 4), 5.0)])
    assert (hold(logits, torch.zeros(2), SAME_SIZE).winner == -1).all()


@pytest.mark.parametrize("hold", [*WAYS, assign_pixels])
def test_a_mask_that_is_nowhere_leaves_the_image_void(hold) -> None:
    frame = Frame(canvas_hw=(16, 16), resized_hw=(12, 16), image_hw=(24, 32))
    contest = hold(torch.full((1, 4, 4), -20.0), torch.ones(1), frame)
    assert contest.winner.shape == (24, 32)
    assert (contest.winner == -1).all()
    assert contest.won_px.tolist() == contest.loose_px.tolist() == [0]


def test_no_mask_leaves_the_image_void() -> None:
    contest = assign_pixels(torch.zeros((0, 4, 4)), torch.zeros(0), SAME_SIZE)
    assert (contest.winner == -1).all()
    assert contest.won_px.shape == (0,)


@pytest.mark.parametrize("image_hw", [(64, 256), (40, 160), (20, 500)])
def test_a_mask_in_the_padding_alone_is_nowhere_in_the_image(image_hw: tuple[int, int]) -> None:
    logits = torch.full((2, 64, 64), -20.0)
    logits[0, 48:, :4] = 5.0
    logits[1, 48:, 40:] = 5.0
    frame = Frame(canvas_hw=(256, 256), resized_hw=(64, 256), image_hw=image_hw)
    contest = assign_pixels(logits, torch.ones(2), frame)
    assert contest.inside_px.tolist() == contest.loose_px.tolist() == [0, 0]


def test_half_precision_and_gradients_are_no_obstacle() -> None:
    frame = FRAMES[2]
    logits, scores = small_blobs(0).bfloat16(), torch.linspace(0.9, 0.2, 12)
    expected = assign_pixels(logits.float(), scores, frame)
    assert_same(assign_pixels(logits, scores, frame), expected)
    logits, scores = logits.float().requires_grad_(), scores.requires_grad_()
    assert_same(assign_pixels(logits, scores, frame), expected)


def test_more_masks_than_a_byte_can_number_keep_their_own_pixels() -> None:
    logits = torch.full((300, 20, 20), -10.0)
    for i in range(300):
        logits[i, i // 20, i % 20] = 10.0
    frame = Frame(canvas_hw=(20, 20), resized_hw=(20, 20), image_hw=(20, 20))
    contest = one_by_one(logits, torch.linspace(0.9, 0.5, 300), frame)
    assert contest.winner.ravel().tolist() == [*range(300), *[-1] * 100]


def test_an_image_of_more_runs_than_come_home_is_fetched_as_a_map() -> None:
    """Two masks by turns, pixel by pixel: each pixel is a run."""
    rows, columns = torch.meshgrid(torch.arange(200), torch.arange(200), indexing="ij")
    first = torch.where((rows + columns) % 2 == 0, 4.0, -4.0)
    logits = torch.stack([first, -first])
    frame = Frame(canvas_hw=(200, 200), resized_hw=(200, 200), image_hw=(200, 200))
    contest = all_at_once(logits, torch.ones(2), frame)
    assert len(contest.starts) > MAX_RUNS
    assert_same(contest, one_by_one(logits, torch.ones(2), frame))
    assert contest.won_px.tolist() == [20_000, 20_000]
