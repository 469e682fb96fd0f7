"""Tensors that pose as a GPU's: what waits and what is launched, worked out by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmarks.posing import counting, pose, pose_network

NUMBERS = pose(torch.tensor([3.0, 1.0, 2.0]))
PLACES = pose(torch.tensor([2, 0]))


@pytest.mark.parametrize(
    ("ask", "waits"),
    [
        (lambda: NUMBERS + 1, 0),
        (lambda: NUMBERS.cpu(), 1),
        (lambda: NUMBERS.to("cpu"), 1),
        (lambda: NUMBERS.cpu().numpy().tolist(), 1),  # the second step is the host's own
        (lambda: NUMBERS.tolist(), 1),
        (lambda: NUMBERS.sum().item(), 1),
        (lambda: float(NUMBERS.sum()), 1),
        (lambda: bool(NUMBERS.any()), 1),
        (lambda: NUMBERS[PLACES], 0),
        (lambda: NUMBERS[[2, 0]], 1),  # a list is copied to the GPU
        (lambda: NUMBERS[NUMBERS > 1], 1),  # only the GPU knows how many
        (lambda: NUMBERS[PLACES[0]], 0),
        (lambda: NUMBERS.masked_fill(NUMBERS > 1, 0), 0),
        (lambda: NUMBERS.nonzero(), 1),
        (lambda: torch.nonzero_static(NUMBERS, size=2), 0),
        (lambda: PLACES.bincount(minlength=3), 2),  # for its least and its largest value
        (lambda: PLACES.unique(), 1),
        (lambda: NUMBERS.masked_select(NUMBERS > 1), 1),
        (lambda: NUMBERS.repeat_interleave(PLACES.new_ones(3)), 1),
        (lambda: NUMBERS.repeat_interleave(PLACES.new_ones(3), output_size=3), 0),
        (lambda: NUMBERS.new_tensor([1.0, 2.0]), 1),
        (lambda: torch.tensor([1.0], device=NUMBERS.device), 1),
        (lambda: torch.zeros(3, device=NUMBERS.device), 0),
        (lambda: torch.ones(3).to(NUMBERS.device), 1),
        (lambda: torch.ones(3).to(NUMBERS), 1),
        (lambda: torch.ones(3).to("cuda", non_blocking=True), 1),  # from pageable memory
        (lambda: torch.ones(3).pin_memory().to("cuda", non_blocking=True), 0),
        (lambda: torch.zeros(3).copy_(NUMBERS), 1),
        (lambda: torch.empty(3, device="cuda").copy_(torch.ones(3)), 1),
    ],
)
def test_waits_are_counted(ask: Callable[[], object], waits: int) -> None:
    with counting() as counts:
        ask()
    assert counts.num_waits == waits


def test_what_comes_home_has_the_values_and_is_counted_in_bytes() -> None:
    with counting() as counts:
        home = (NUMBERS * 2).cpu()
    assert home.tolist() == [6, 2, 4]
    assert type(home) is Tensor
    assert counts.home_bytes == 3 * 4


def test_a_mixed_operation_is_refused_as_on_a_gpu() -> None:
    with counting(), pytest.raises(RuntimeError, match="got one on the CPU"):
        NUMBERS + torch.ones(3)
    with counting(), pytest.raises(TypeError, match=r"call \.cpu\(\) first"):
        NUMBERS.numpy()


def test_views_and_allocations_are_no_launches_and_attention_is_one() -> None:
    queries = pose(torch.ones(1, 1, 4, 8))
    with counting() as counts:
        NUMBERS.view(3, 1).expand(3, 2)
        torch.empty(3, device="cuda")
        nn.functional.scaled_dot_product_attention(queries, queries, queries)
        NUMBERS.add_(0)
    assert counts.operations == {"scaled_dot_product_attention": 1, "add_": 1}
    assert counts.touched_bytes == 4 * 32 * 4 + 2 * 3 * 4  # inputs once, the output once


def test_casts_of_frozen_weights_are_told_from_others() -> None:
    layer = pose_network(nn.Linear(2, 2).requires_grad_(False))
    with counting(layer) as counts, torch.autocast("cuda", torch.bfloat16):
        layer(pose(torch.ones(1, 2)))
    assert counts.casts_of_weights == 2  # weight and bias
    assert counts.operations["_to_copy"] == 3


def test_a_network_gives_what_it_gives_on_a_cpu() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU())
    image = torch.randn(2, 3, 8, 8)
    expected = network(image)
    with counting() as counts:
        found = pose_network(network)(pose(image)).cpu()
    assert torch.equal(found, expected)
    assert counts.num_launches == 3


def test_gradients_flow_as_on_a_cpu_and_a_generator_gives_the_cpu_s_numbers() -> None:
    weight = pose(torch.tensor([3.0, 1.0])).requires_grad_()
    with counting() as counts:
        generator = torch.Generator(weight.device).manual_seed(7)
        drawn = torch.rand(2, generator=generator, device=weight.device)
        (weight * weight).sum().backward()
    assert counts.num_waits == 0
    assert weight.grad is not None
    assert weight.grad.cpu().tolist() == [6, 2]
    assert torch.equal(drawn.cpu(), torch.rand(2, generator=torch.Generator().manual_seed(7)))
