import pytest
import torch
from torch import nn

from possam_core.training.workers import Workers


def make_workers(rank: int, num: int) -> Workers:
    workers = Workers()
    workers.rank, workers.num = rank, num
    return workers


@pytest.mark.parametrize(("size", "num"), [(16, 8), (7, 3), (2, 5)])
def test_shares_cover_the_batch_once_and_differ_by_one_at_most(size: int, num: int) -> None:
    shares = [make_workers(rank, num).share(size) for rank in range(num)]
    assert [place for share in shares for place in share] == list(range(size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_every_sum_is_its_own() -> None:
    workers, layer = Workers(), nn.Linear(1, 1)
    layer(torch.ones(1, 1)).backward()
    workers.sum_gradients(layer.parameters())
    workers.align(layer)
    assert layer.bias.grad == 1
    assert workers.is_first
    assert workers.share(5) == range(5)
    assert workers.total([1.5, 2.0]) == [1.5, 2.0]
    assert workers.gather("a") == ["a"]
    assert workers.from_first("a") == "a"
