"""FC-CLIP's files, fetched from a real server or named where they are, and pinned."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from pipelines.cli.command import app
from pipelines.cli.fc_clip_weights import fetch_fc_clip, pin_files, verify_fc_clip
from possam_core.checkpoints.models import read_card
from possam_core.checkpoints.published import FC_CLIP_LICENCE
from possam_core.errors import CheckpointError, ConfigError
from tests.pipelines.cli.file_server import serve

HEAD = {"void_embedding.weight": torch.ones(1, 4), "sem_seg_head.predictor.a": torch.ones(2)}
TOWER = {"logit_scale": torch.ones(1)}


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A folder with a head and a tower."""
    folder = tmp_path / "served"
    folder.mkdir()
    torch.save({"model": HEAD, "iteration": 3}, folder / "head.pth")
    torch.save(TOWER, folder / "tower.bin")
    return folder


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where fetched files go."""
    monkeypatch.setenv("POSSAM_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def address(served: Path) -> Iterator[str]:
    with serve(served) as address:
        yield address


def possam(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["weights", *arguments])


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_fetching_writes_a_model_file_with_the_sha256_of_both_files(
    served: Path, weights: Path, address: str
) -> None:
    fetch = ("fetch", "fc-clip", "--head", f"{address}/head.pth", "--clip", f"{address}/tower.bin")
    assert possam(*fetch).exit_code == 0
    folder = weights / "fc-clip"
    assert sorted(file.name for file in folder.iterdir()) == [
        "fcclip_cocopan.pth",
        "model.yaml",
        "open_clip_pytorch_model.bin",
    ]
    assert yaml.safe_load((folder / "model.yaml").read_text()) == {
        "teacher": "fc-clip",
        "head": "fcclip_cocopan.pth",
        "head_sha256": sha256(served / "head.pth"),
        "clip": "open_clip_pytorch_model.bin",
        "clip_sha256": sha256(served / "tower.bin"),
        "licence": FC_CLIP_LICENCE,
    }
    card = read_card("fc-clip")
    assert (card.name, card.licence) == ("fc-clip", FC_CLIP_LICENCE)
    assert card.files["fcclip_cocopan.pth"] == sha256(served / "head.pth")
    assert possam("verify", "fc-clip").output.strip() == f"fc-clip is sound: {folder}/model.yaml"
    assert f"found at {folder}/model.yaml" in possam("list").output
    head = json.loads(possam("list", "--json").output)[-1]
    assert (head["name"], head["part"]) == ("fc-clip", "head")
    assert head["sha256"] == sha256(served / "head.pth")
    assert head["file"] == f"{folder}/model.yaml"


def test_a_head_that_was_never_fetched_is_listed_without_a_sha256(weights: Path) -> None:
    head = json.loads(possam("list", "--json").output)[-1]
    assert (head["name"], head["sha256"], head["file"]) == ("fc-clip", None, None)


def test_what_was_fetched_is_checked_against_what_was_pinned(
    served: Path, weights: Path, address: str
) -> None:
    path = fetch_fc_clip(f"{address}/head.pth", f"{address}/tower.bin", lambda _: None)
    assert fetch_fc_clip(None, None, lambda _: None) == path  # nothing is asked of the network
    (weights / "fc-clip/fcclip_cocopan.pth").write_bytes((served / "tower.bin").read_bytes())
    for attempt in (verify_fc_clip, lambda: fetch_fc_clip(None, None, lambda _: None)):
        with pytest.raises(CheckpointError, match="restore the file, or pin the new one"):
            attempt()


def test_local_files_are_named_where_they_are(served: Path, weights: Path) -> None:
    save_file(HEAD, served / "head.safetensors")
    head, tower = str(served / "head.safetensors"), str(served / "tower.bin")
    content = yaml.safe_load(fetch_fc_clip(head, tower, lambda _: None).read_text())
    assert (content["head"], content["clip"]) == (head, tower)
    assert [file.name for file in weights.rglob("*") if file.is_file()] == ["model.yaml"]


def test_a_head_saved_by_hand_where_the_message_says_is_taken_by_the_same_command(
    served: Path, weights: Path
) -> None:
    by_hand = weights / "fc-clip/fcclip_cocopan.pth"
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes((served / "head.pth").read_bytes())
    path = fetch_fc_clip(None, str(served / "tower.bin"), lambda _: None)
    content = yaml.safe_load(path.read_text())
    assert content["head"] == "fcclip_cocopan.pth"
    assert content["head_sha256"] == sha256(served / "head.pth")


def test_a_page_saved_as_the_head_is_refused(weights: Path) -> None:
    by_hand = weights / "fc-clip/fcclip_cocopan.pth"
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(b"<html>a page</html>")
    with pytest.raises(CheckpointError, match="what came is no file of tensors"):
        fetch_fc_clip(None, None, lambda _: None)


def test_a_head_with_its_own_towers_needs_no_other(served: Path, weights: Path) -> None:
    torch.save(HEAD | {"backbone.clip_model.logit_scale": torch.ones(1)}, served / "head.pth")
    path = fetch_fc_clip(str(served / "head.pth"), None, lambda _: None)
    assert "clip" not in yaml.safe_load(path.read_text())


@pytest.mark.parametrize("content", [b"<html>a page</html>", b"", b"PK half of a file"])
def test_what_is_no_head_is_answered_with_how_to_get_one(
    served: Path, weights: Path, address: str, content: bytes
) -> None:
    (served / "head.pth").write_bytes(content)
    result = possam("fetch", "fc-clip", "--head", f"{address}/head.pth")
    assert isinstance(result.exception, CheckpointError)
    message = str(result.exception)
    assert "what came is no file of tensors" in message
    assert "download fcclip_cocopan.pth by hand, from the row ConvNeXt-Large at" in message
    assert "\n" not in message
    assert [file for file in weights.rglob("*") if file.is_file()] == []


def test_other_tensors_are_no_head(served: Path, weights: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds other tensors \(logit_scale\)"):
        fetch_fc_clip(str(served / "tower.bin"), None, lambda _: None)
    with pytest.raises(CheckpointError, match=r"an address or a file .* got 'no.pth'"):
        fetch_fc_clip("no.pth", None, lambda _: None)
    assert not weights.exists()


def test_head_and_tower_are_for_fc_clip_alone(weights: Path) -> None:
    result = possam("fetch", "vit_b", "--head", "head.pth")
    assert isinstance(result.exception, ConfigError)
    assert "with fc-clip alone, got vit_b" in str(result.exception)


def test_a_command_pins_the_files_of_ones_own_model_file(served: Path) -> None:
    path = served / "mine.yaml"
    path.write_text(
        "# mine\nteacher: fc-clip\nhead: head.pth\nhead_sha256: old\narchitecture: {clip: {}}\n"
    )
    result = possam("pin", str(path))
    assert result.output == f"head_sha256: {sha256(served / 'head.pth')}\n"
    assert path.read_text() == (
        "# mine\nteacher: fc-clip\nhead: head.pth\narchitecture: {clip: {}}\n"
        f"head_sha256: {sha256(served / 'head.pth')}\n"
    )
    torch.save(TOWER, served / "head.pth")
    with pytest.raises(CheckpointError, match="restore the file"):
        read_card(str(path))
    other = served / "possam.yaml"
    other.write_text("checkpoint: head.safetensors")
    with pytest.raises(ConfigError, match="expected a model file of FC-CLIP"):
        pin_files(other)
