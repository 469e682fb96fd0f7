from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from possam_core.checkpoints.weights import load_model
from possam_core.playground import WORKSHOP
from possam_core.training.tiny.train import fresh_head
from possam_core.training.tiny.world_stage import WorldRecipe, train_on_world
from possam_core.training.workers import Workers, work_together


def make_workers(rank: int, num: int) -> Workers:
    workers = Workers()
    workers.rank, workers.num = rank, num
    return workers


@pytest.mark.parametrize(("size", "num"), [(16, 8), (7, 3), (2, 5)])
def test_shares_cover_the_batch_once_and_differ_by_one_at_most(size: int, num: int) -> None:
    shares = [make_workers(rank, num).share(size) for rank in range(num)]
    assert [place for share in shares for place in share] == list(range(size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_single_worker_sums_to_its_own_values() -> None:
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


def test_two_processes_train_as_one_does(tiny_model: str, tmp_path: Path) -> None:
    recipe = WorldRecipe(num_scenes=12, num_steps=3, batch_size=6, progress_scenes=1)
    start = _weights(fresh_head(load_model(tiny_model), WORKSHOP, seed=5))
    alone, together = (_trained(tiny_model, recipe, tmp_path, num=num) - start for num in (1, 2))
    assert alone.norm() > 0
    likeness = functional.cosine_similarity(alone, together, dim=0)
    assert likeness > 0.999  # gradients of half the batch give 0.92


def _trained(tiny_model: str, recipe: WorldRecipe, folder: Path, *, num: int) -> Tensor:
    model = fresh_head(load_model(tiny_model), WORKSHOP, seed=5)
    state = folder / f"of {num}"
    work_together(partial(train_on_world, model, WORKSHOP, recipe, state, scenes=folder), num=num)
    return _weights(model)


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([weight.float().flatten() for weight in model.state_dict().values()])


def leave_early() -> None:
    workers = Workers()
    if not workers.is_first:
        raise SystemExit(3)
    workers.total([1.0])


def test_a_worker_that_leaves_early_stops_the_others() -> None:
    with pytest.raises(RuntimeError):
        work_together(leave_early, num=2)
    assert Workers().num == 1
