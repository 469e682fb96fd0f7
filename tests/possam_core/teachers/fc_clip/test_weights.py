"""FC-CLIP's tensors by their official names."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from possam_core.errors import CheckpointError
from possam_core.teachers.fc_clip.names import CLIP, UNUSED
from possam_core.teachers.fc_clip.network import FcClip, FcClipConfig
from possam_core.teachers.fc_clip.weights import LoadedTensors, load_fc_clip_tensors, their_shapes
from tests.fc_clip_reference import SMALL_CONFIG

FULL_SIZE = Path(__file__).parent / "full_size.json"  # the published names and shapes
VOID = "void_embedding.weight"


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    network = FcClip(SMALL_CONFIG)
    shapes = their_shapes(network, with_clip=True)
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def load(tensors: Mapping[str, Tensor]) -> tuple[FcClip, LoadedTensors]:
    network = FcClip(SMALL_CONFIG)
    return network, load_fc_clip_tensors(network, tensors, source="head.pth")


def test_every_published_tensor_of_full_size_is_used_or_known_to_be_unused() -> None:
    published: dict[str, dict[str, list[int]]] = json.loads(FULL_SIZE.read_text())
    assert (len(published["head"]), len(published["clip"])) == (303, 543)
    with torch.device("meta"):
        network = FcClip(FcClipConfig())
    used = {n: list(s) for n, s in their_shapes(network, with_clip=True).items()}
    every = published["head"] | published["clip"]
    assert used == {n: s for n, s in every.items() if not n.startswith(UNUSED)}
    assert sorted(set(every) - set(used)) == ["criterion.empty_weight"]
    assert len(used) == len(network.state_dict())


def test_a_head_without_clip_leaves_the_towers_as_they_are(published: dict[str, Tensor]) -> None:
    head = {n: t for n, t in published.items() if not n.startswith(CLIP)}
    network = FcClip(SMALL_CONFIG)
    before = network.clip.clip.token_embedding.weight.clone()
    loaded = load_fc_clip_tensors(
        network, head | {"criterion.empty_weight": torch.ones(134)}, source="head.pth"
    )
    assert loaded == LoadedTensors(has_clip=False, unused=("criterion.empty_weight",))
    assert torch.equal(network.clip.clip.token_embedding.weight, before)
    assert torch.equal(network.ldp.void, published[VOID][0])


def test_towers_in_the_file_are_used(published: dict[str, Tensor]) -> None:
    training_aid = {"frozen_backbone.clip_model.logit_scale": torch.tensor(1.0)}
    network, loaded = load({**published, **training_aid})
    assert loaded == LoadedTensors(has_clip=True, unused=tuple(training_aid))
    tower = published[CLIP + "visual.trunk.stem.0.weight"]
    assert torch.equal(network.clip.clip.visual.trunk.stem[0].weight, tower)


def test_half_precision_is_widened(published: dict[str, Tensor]) -> None:
    network, _ = load({name: tensor.half() for name, tensor in published.items()})
    assert torch.equal(network.ldp.void, published[VOID][0].half().float())


def test_whatever_does_not_fit_is_listed_and_nothing_loaded(published: dict[str, Tensor]) -> None:
    wrong = {n: t for n, t in published.items() if n != VOID}
    wrong |= {
        "criterion.other": torch.zeros(1),
        "sem_seg_head.predictor.logit_scale": torch.zeros(2),
    }
    network = FcClip(SMALL_CONFIG)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(
        CheckpointError,
        match=r"in head.pth, in the shapes of the architecture, but void_embedding.weight is"
        r" missing, criterion.other is not part of it, sem_seg_head.predictor.logit_scale is of"
        r" shape \[2\] instead of \[\]; name the file",
    ):
        load_fc_clip_tensors(network, wrong, source="head.pth")
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())


def test_half_a_clip_is_refused(published: dict[str, Tensor]) -> None:
    trunk = {n: t for n, t in published.items() if "transformer.resblocks" not in n}
    with pytest.raises(CheckpointError, match=r"is missing.* and 21 more"):
        load(trunk)
