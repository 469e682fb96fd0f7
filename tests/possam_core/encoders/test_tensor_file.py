"""Files of tensors in every form that publishers use; nothing in them is run."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from possam_core.encoders.tensor_file import read_tensors
from possam_core.errors import CheckpointError

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "scale": torch.tensor(2.5)}


class Evil:
    """Prints when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("ran",))


def write(path: Path, form: str) -> Path:
    arrays = {name: tensor.numpy() for name, tensor in TENSORS.items()}
    if form == "safetensors":
        save_file(TENSORS, path)
    elif form == "detectron2":
        torch.save({"model": TENSORS, "optimizer": {"state": {}}, "iteration": 368749}, path)
    elif form == "training run":
        parallel = {f"module.{name}": tensor for name, tensor in TENSORS.items()}
        torch.save({"state_dict": parallel, "epoch": 3}, path)
    elif form == "old torch":
        torch.save(TENSORS, path, _use_new_zipfile_serialization=False)
    elif form == "arrays":
        path.write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody"}))
    else:
        torch.save(TENSORS, path)
    return path


@pytest.mark.parametrize(
    ("form", "suffix"),
    [
        ("safetensors", ".safetensors"),
        ("detectron2", ".pth"),
        ("training run", ".pt"),
        ("state dict", ".bin"),
        ("old torch", ".pth"),
        ("arrays", ".pkl"),
    ],
)
def test_every_published_form_gives_the_same_tensors(
    tmp_path: Path, form: str, suffix: str
) -> None:
    found = read_tensors(write(tmp_path / f"weights{suffix}", form), what="decoder")
    assert set(found) == set(TENSORS)
    for name, tensor in TENSORS.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".bin"])
def test_a_pickle_that_is_more_than_tensors_is_refused_and_not_run(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, content = tmp_path / f"weights{suffix}", {"model": {"weight": Evil()}}
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match="is not plain weights, so it was not run") as caught:
        read_tensors(path, what="decoder")
    assert str(caught.value).isprintable()  # no line break, and no colours of a terminal
    assert "likely succeed" not in str(caught.value)  # torch advises to run it
    assert "ran" not in capsys.readouterr().out


def test_plain_values_between_tensors_are_named(tmp_path: Path) -> None:
    torch.save({"model": TENSORS | {"step": 3}}, tmp_path / "weights.pth")
    with pytest.raises(
        CheckpointError, match=r"expected tensors by name in .* got int under 'step'"
    ):
        read_tensors(tmp_path / "weights.pth", what="decoder")
