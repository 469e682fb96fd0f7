from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from possam_core.checkpoints.fc_clip_file import fetched_model_file
from possam_core.checkpoints.model_file import file_sha256
from possam_core.checkpoints.weights import ENCODERS, load_model
from possam_core.errors import CheckpointError, ConfigError, PossamError
from possam_core.playground import PLAYGROUND
from possam_core.training.network import NetworkConfig, build_network
from tests.factories import write_checkpoint, write_head
from tests.fc_clip_files import write_fc_clip, write_model_file

SEEN = PLAYGROUND.training_vocabulary


def differing(first: torch.nn.Module, second: torch.nn.Module) -> set[str]:
    """Names of the tensors that differ, up to their first part."""
    other = second.state_dict()
    return {
        name.partition(".")[0]
        for name, tensor in first.state_dict().items()
        if not torch.equal(tensor, other[name])
    }


def test_a_checkpoint_keeps_every_weight_under_another_vocabulary(tmp_path: Path) -> None:
    path = str(write_checkpoint(tmp_path / "small.safetensors"))
    network = build_network(NetworkConfig(checkpoint=path), SEEN, seed=0)
    assert differing(network.model, load_model(path)) == set()
    assert network.model.card.vocabulary == SEEN
    assert set(network.model.card.training_names) == {n for c in SEEN.classes for n in c.all_names}


def test_a_fresh_head_keeps_the_encoders_and_depends_on_the_seed(tmp_path: Path) -> None:
    path = str(write_checkpoint(tmp_path / "small.safetensors"))
    config = NetworkConfig(checkpoint=path, fresh_head=True)
    first, again, other = (build_network(config, SEEN, seed=s).model for s in (1, 1, 2))
    assert differing(first, again) == set()
    assert differing(first, load_model(path)) == differing(first, other)
    assert differing(first, other) == {"pyramid", "pixel_decoder", "mask_decoder", "ldp"}


def test_a_checkpoint_of_published_encoders_is_a_head_again(tmp_path: Path) -> None:
    head = write_head(tmp_path)
    network = build_network(NetworkConfig(checkpoint=str(head)), PLAYGROUND.vocabulary, seed=0)
    written = tmp_path / "written.safetensors"
    written.write_bytes(network.checkpoint({"step": 5}))
    with safe_open(written, framework="pt") as file:
        assert not [name for name in file.keys() if name.startswith(ENCODERS)]  # noqa: SIM118
    loaded = load_model(str(written))
    assert loaded.card.metrics == {"step": 5}
    assert differing(loaded, network.model) == set()


def test_a_checkpoint_holds_sam_if_it_is_trained(tmp_path: Path) -> None:
    config = NetworkConfig(checkpoint=str(write_head(tmp_path)), sam_learns_until=0.5)
    network = build_network(config, SEEN, seed=0)
    with torch.no_grad():
        next(network.model.sam.parameters()).add_(1)
    (tmp_path / "whole.safetensors").write_bytes(network.checkpoint({}))
    (tmp_path / "sam.pth").unlink()
    assert load_model(str(tmp_path / "whole.safetensors")).card.vocabulary == SEEN


def test_a_warm_start_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = str(write_checkpoint(tmp_path / "small.safetensors"))
    config = NetworkConfig(checkpoint=path, init_from=str(tmp_path / "none.pth"))
    with pytest.raises(CheckpointError, match=r"none\.pth"):
        build_network(config, SEEN, seed=0)


def test_a_fetched_fc_clip_is_a_warm_start_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSSAM_WEIGHTS", str(tmp_path))
    folder = fetched_model_file().parent
    folder.mkdir(parents=True)
    write_fc_clip(folder)
    write_model_file(folder, head_sha256=file_sha256(folder / "fcclip_small.pth"))
    path = str(write_checkpoint(tmp_path / "small.safetensors"))
    by_name, by_file = (
        build_network(NetworkConfig(checkpoint=path, init_from=source), SEEN, seed=0).model
        for source in ("fc-clip", str(folder / "fcclip_small.pth"))
    )
    assert differing(by_name, by_file) == set()
    assert "mask_decoder" in differing(by_name, load_model(path))
    torch.save({"model": {}}, folder / "fcclip_small.pth")
    with pytest.raises(CheckpointError, match="restore the file, or pin the new one"):
        build_network(NetworkConfig(checkpoint=path, init_from="fc-clip"), SEEN, seed=0)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"sam": "vit_b", "clip": "ViT-L-14"}, "run `possam weights fetch vit_b`"),
        ({"sam": "vit_x", "clip": "ViT-L-14"}, "network.sam_weights for 'vit_x'"),
        ({"sam": "vit_b", "sam_weights": "a.pth", "clip": "ViT-L-14"}, "vit_b at a.pth, but"),
    ],
)
def test_missing_weights_are_named(
    settings: dict, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSSAM_WEIGHTS", str(tmp_path))
    with pytest.raises(PossamError, match=reason):
        build_network(NetworkConfig(**settings), SEEN, seed=0)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "needs a checkpoint, or both"),
        ({"sam": "vit_b", "sam_weights": "a.pth"}, "needs a checkpoint, or both"),
        ({"checkpoint": "possam-tiny", "sam": "vit_b"}, "brings its encoders"),
        (
            {"sam": "vit_b", "clip": "convnext_large_d_320", "fresh_head": True},
            "about a checkpoint",
        ),
        ({"checkpoint": "possam-tiny", "sam_learns_until": 1.5}, r"in \[0, 1\]"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        NetworkConfig(**settings)
