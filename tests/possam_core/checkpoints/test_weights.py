from pathlib import Path

import pytest
import torch

from possam_core.checkpoints.models import bundled_models, read_card, resolve_model
from possam_core.checkpoints.weights import load_model
from possam_core.errors import CheckpointError


def test_a_saved_model_loads_with_the_same_weights_and_header(tiny_model: str) -> None:
    first, second = load_model(tiny_model), load_model(tiny_model)
    assert first.card == second.card
    assert not first.training
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name])


def test_possam_tiny_is_bundled_and_carries_its_metrics() -> None:
    assert "possam-tiny" in bundled_models()
    assert resolve_model("possam-tiny").checkpoint.stat().st_size <= 25 * 10**6
    card = load_model("possam-tiny").card
    assert card.metrics["quality"]["seen"]["pq"] > 0
    card = read_card("possam-tiny")
    assert card.vocabulary is not None
    assert (card.name, len(card.vocabulary), card.licence) == ("possam-tiny", 48, "Apache-2.0")


def test_an_unknown_name_is_answered_with_the_nearest(tiny_model: str) -> None:
    with pytest.raises(CheckpointError, match="did you mean 'possam-tiny'"):
        load_model("posam-tiny")


def test_one_flipped_byte_is_found(tiny_model: str, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    content = bytearray(Path(tiny_model).read_bytes())
    content[-5] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(CheckpointError, match="the file is damaged"):
        load_model(str(damaged))


@pytest.mark.parametrize("keep", [0, 4, 100, 5000])
def test_a_truncated_file_is_refused_in_one_sentence(
    tiny_model: str, tmp_path: Path, keep: int
) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(Path(tiny_model).read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="cannot be read as one"):
        load_model(str(damaged))
