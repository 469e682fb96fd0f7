"""On tensors that pose as a GPU's: what is cast once, and that nobody sees it afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from benchmarks.posing import Counts, counting, pose, pose_network
from possam_core.decoder.cast_weights import CastWeights
from possam_core.decoder.pixel_decoder import DeformableEncoderLayer, PixelDecoderConfig

INPUTS = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def make_network() -> nn.Sequential:
    """Two products, and a norm, which is none."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Linear(4, 5))
    return pose_network(network.eval())


@contextmanager
def in_half_precision(network: nn.Module) -> Iterator[Counts]:
    """As on a GPU, and counted."""
    with counting(network) as counts, torch.autocast("cuda", torch.bfloat16):
        yield counts


@torch.no_grad()
def run(network: nn.Module, casts: CastWeights) -> tuple[Tensor, Counts]:
    """Its output in half precision, with casts lent."""
    inputs = pose(INPUTS)
    with in_half_precision(network) as counts, casts.lent([network], inputs):
        output = network(inputs)
    return output.cpu(), counts


def test_weights_are_cast_in_the_first_call_alone_with_the_same_result() -> None:
    network, casts = make_network(), CastWeights()
    with torch.no_grad(), in_half_precision(network) as each_time:
        expected = network(pose(INPUTS)).cpu()
    found = [run(network, casts) for _ in range(2)]
    assert each_time.casts_of_weights == 4  # two weights, two biases
    assert [counts.casts_of_weights for _, counts in found] == [4, 0]
    for output, _ in found:
        assert output.dtype == torch.bfloat16
        assert torch.equal(output, expected)


def test_a_weight_that_has_changed_is_cast_again() -> None:
    network, casts = make_network(), CastWeights()
    before, _ = run(network, casts)
    with torch.no_grad():
        network[3].bias.add_(1)
    after, _ = run(network, casts)
    assert (after - before).float().mean() == pytest.approx(1, abs=0.01)


def test_outside_weights_are_as_they_were_also_after_an_error() -> None:
    network, casts = make_network(), CastWeights()
    before = dict(network.named_parameters())

    def fail() -> None:
        with casts.lent([network], pose(INPUTS)):
            assert network[0].weight.dtype == torch.bfloat16
            assert network[1].weight.dtype == torch.float32
            raise KeyError

    with in_half_precision(network), torch.no_grad(), pytest.raises(KeyError):
        fail()
    assert all(before[name] is weight for name, weight in network.named_parameters())


def test_nothing_is_lent_on_a_cpu_in_float32_or_where_gradients_are_wanted() -> None:
    network, casts = make_network(), CastWeights()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), casts.lent([network], INPUTS):
        assert network[0].weight.dtype == torch.float32
    with counting(network), torch.no_grad(), casts.lent([network], pose(INPUTS)):
        assert network[0].weight.dtype == torch.float32
    with in_half_precision(network), casts.lent([network], pose(INPUTS)):
        assert network[0].weight.dtype == torch.float32


def test_layers_that_sampling_points_come_from_keep_float32() -> None:
    config = PixelDecoderConfig(num_heads=2, num_points=2, ffn_width=16)
    layer = pose_network(DeformableEncoderLayer(config, 32, num_levels=1))
    casts = CastWeights()
    with in_half_precision(layer), torch.no_grad(), casts.lent([layer], pose(INPUTS)):
        low = {n for n, weight in layer.named_parameters() if weight.dtype == torch.bfloat16}
    products = ("attention.output_proj", "ffn.0", "ffn.2")
    assert low == {f"{name}.{kind}" for name in products for kind in ("weight", "bias")}
