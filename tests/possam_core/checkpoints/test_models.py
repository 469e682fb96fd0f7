"""Names, model files, and heads with their frozen encoders."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from possam_core.checkpoints.models import model_fingerprint, resolve_model
from possam_core.checkpoints.weights import load_model
from possam_core.errors import CheckpointError
from tests.factories import small_model, write_head


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a head and its encoders."""
    folder = tmp_path_factory.mktemp("head")
    write_head(folder)
    return folder


@pytest.fixture
def folder(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POSSAM_WEIGHTS", str(tmp_path / "nothing fetched"))
    return Path(shutil.copytree(pristine, tmp_path / "model"))


def test_a_head_finds_its_encoders_beside_itself(folder: Path) -> None:
    head = folder / "head.safetensors"
    loaded, original = load_model(str(head)).state_dict(), small_model().state_dict()
    assert head.stat().st_size < (folder / "clip.bin").stat().st_size
    assert set(loaded) == set(original)
    for name, value in original.items():
        exact = name.startswith(("sam.", "clip."))  # learned tensors are stored at half precision
        torch.testing.assert_close(loaded[name], value if exact else value.half().float())


def test_a_model_file_names_the_parts_relative_to_itself(folder: Path) -> None:
    encoders = folder / "encoders"
    encoders.mkdir()
    for name in ("sam.pth", "clip.bin"):
        (folder / name).rename(encoders / name)
    model_file = folder / "model.yaml"
    model_file.write_text(
        "checkpoint: head.safetensors\nsam: encoders/sam.pth\nclip: encoders/clip.bin\n"
    )
    parts = resolve_model(str(model_file))
    assert parts.sam == encoders / "sam.pth"
    assert load_model(str(model_file)).fingerprint == model_fingerprint(str(model_file))


def test_missing_encoders_are_named(folder: Path) -> None:
    (folder / "sam.pth").unlink()
    with pytest.raises(CheckpointError, match=r"expected the SAM weights .*sam\.pth"):
        resolve_model(str(folder / "head.safetensors"))


def test_encoders_of_another_training_are_refused(folder: Path) -> None:
    other = small_model(seed=1)
    torch.save(other.clip.clip.state_dict(), folder / "clip.bin")
    with pytest.raises(CheckpointError, match=r"CLIP weights that .* was trained on"):
        load_model(str(folder / "head.safetensors"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sam: sam.pth", "expected 'checkpoint'"),
        ("checkpoint: head.safetensors\nhead: x", "expected only checkpoint, sam, clip"),
        ("just text", "expected names of files .* got 'just text'"),
        ("a: [", "cannot be read"),
        ("checkpoint: no.safetensors", "names as checkpoint, but there is none"),
        ("checkpoint: tiny.safetensors\nsam: sam.pth", "holds its own"),
    ],
)
def test_mistakes_in_a_model_file_are_one_sentence(
    folder: Path, tiny_model: str, content: str, message: str
) -> None:
    shutil.copy(tiny_model, folder / "tiny.safetensors")
    (folder / "model.yaml").write_text(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        resolve_model(str(folder / "model.yaml"))
    assert "\n" not in str(caught.value)


def test_a_head_with_a_tensor_missing_or_too_much_is_refused(folder: Path) -> None:
    from possam_core.checkpoints.weights import save_head

    model = small_model()
    model.ldp.register_parameter("spare", torch.nn.Parameter(torch.zeros(1)))
    head = folder / "head.safetensors"
    save_head(head, model, sam=folder / "sam.pth", clip=folder / "clip.bin")
    with pytest.raises(CheckpointError, match=r"ldp\.spare is missing or too much"):
        load_model(str(head))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("vit_b", r"got 'vit_b', which is SAM's encoder, one part of a model; run `possam weights"),
        ("convnext_large_d_320", r"which is CLIP's encoder, one part of a model; run"),
        ("fcclip", r"possam-tiny, fc-clip\), the path .* got 'fcclip'; did you mean 'fc-clip'"),
        ("no/such/file.safetensors", "check the name or the path"),
    ],
)
def test_what_is_no_model_is_answered_with_what_exists(model: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        resolve_model(model)
    assert "\n" not in str(caught.value)


def test_weights_of_a_part_are_answered_with_what_to_fetch(folder: Path) -> None:
    save_file({"image_encoder.pos_embed": torch.zeros(1)}, folder / "mobile_sam.safetensors")
    old = folder / "sam_vit_b.pth"
    torch.save({"a": torch.zeros(1)}, old, _use_new_zipfile_serialization=False)
    for file in (folder / "sam.pth", folder / "clip.bin", old, folder / "mobile_sam.safetensors"):
        with pytest.raises(CheckpointError, match=r"parts of a model.* fetch fc-clip") as caught:
            resolve_model(str(file))
        assert "KeyError" not in str(caught.value)
        assert "\n" not in str(caught.value)
