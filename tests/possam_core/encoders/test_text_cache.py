import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor

from possam_core.encoders.text_cache import default_text_cache, read_or_embed, text_key

NAMES = [(0, "cup"), (0, "mug"), (1, "sky")]
TEMPLATES = ["a photo of a {}."]
TENSORS = {"token_embedding": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(3)}


def make_key(
    names: list[tuple[int, str]] = NAMES,
    templates: list[str] = TEMPLATES,
    width: int = 3,
    tensors: dict[str, Tensor] = TENSORS,
) -> str:
    return text_key(names, templates, architecture={"text_cfg": {"width": width}}, tensors=tensors)


class Counting:
    """Returns fixed embeddings, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return torch.tensor([[0.1, 0.2], [1 / 3, -0.0]])


def test_a_second_reader_gets_the_same_bits_without_embedding(tmp_path: Path) -> None:
    embed = Counting()
    folder = tmp_path / "not" / "there" / "yet"
    miss = read_or_embed(folder, "key", embed)
    hit = read_or_embed(folder, "key", embed)
    assert embed.calls == 1
    assert hit.numpy().tobytes() == miss.numpy().tobytes() == embed().numpy().tobytes()
    assert [f.name for f in folder.iterdir()] == ["key.safetensors"]  # and no partial file


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "garbage"])
def test_a_damaged_file_is_written_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    embed = Counting()
    whole = read_or_embed(tmp_path, "key", embed)
    path = tmp_path / "key.safetensors"
    intact = path.read_bytes()
    flipped = intact[:-1] + bytes([intact[-1] ^ 1])
    path.write_bytes(
        {"empty": b"", "cut": intact[:-3], "flipped": flipped, "garbage": b"hello"}[damage]
    )
    with caplog.at_level(logging.INFO, logger="possam_core.encoders.text_cache"):
        assert torch.equal(read_or_embed(tmp_path, "key", embed), whole)
    assert embed.calls == 2
    assert path.read_bytes() == intact
    assert "written again" in caplog.text


def test_a_folder_that_cannot_be_written_gives_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    embed = Counting()
    with caplog.at_level(logging.INFO, logger="possam_core.encoders.text_cache"):
        for folder in (tmp_path / "file" / "text", None):
            torch.testing.assert_close(read_or_embed(folder, "key", embed), embed())
    assert [r.levelno for r in caplog.records].count(logging.INFO) == len(caplog.records) > 1
    assert caplog.text.count("not cached") == 2


def test_a_folder_with_the_name_of_the_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "key.safetensors" / "inside").mkdir(parents=True)
    embed = Counting()
    torch.testing.assert_close(read_or_embed(tmp_path, "key", embed), embed())
    assert [f.name for f in tmp_path.iterdir()] == ["key.safetensors"]


def test_the_key_depends_on_everything_that_determines_the_embeddings() -> None:
    other_weights = TENSORS | {"bias": torch.tensor([0.0, 0.0, 1e-30])}
    keys = [
        make_key(),
        make_key(names=[(0, "cup"), (1, "mug"), (1, "sky")]),
        make_key(names=[(0, "mug"), (0, "cup"), (1, "sky")]),
        make_key(templates=["a {}"]),
        make_key(width=4),
        make_key(tensors=other_weights),
        make_key(tensors={k: v.half() for k, v in TENSORS.items()}),
        make_key(tensors=TENSORS | {"more": torch.zeros(1)}),
    ]
    assert len(set(keys)) == len(keys)
    assert make_key(tensors=dict(reversed(TENSORS.items()))) == keys[0]


def test_the_users_cache_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for chosen in ("", "relative/is/ignored"):
        monkeypatch.setenv("XDG_CACHE_HOME", chosen)
        assert default_text_cache() == tmp_path / ".cache" / "possam" / "text"
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert default_text_cache() == Path("/elsewhere/possam/text")
