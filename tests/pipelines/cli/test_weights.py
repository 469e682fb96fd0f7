"""Fetching from a real HTTP server on this machine."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

from pipelines.cli.command import app
from pipelines.cli.weights import fetch_checkpoint, fetch_weights, find_weights, verify_weights
from possam_core.checkpoints.models import model_fingerprint
from possam_core.checkpoints.published import PUBLISHED, PublishedWeights, fetched_file
from possam_core.errors import CheckpointError
from tests.pipelines.cli.file_server import serve

CONTENT = bytes(range(256)) * 9000  # more than one chunk


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublishedWeights]:
    """Weights on a server; fetched files go to a folder of the test's own."""
    monkeypatch.setenv("POSSAM_WEIGHTS", str(tmp_path / "weights"))
    served = tmp_path / "served"
    served.mkdir()
    (served / "encoder.pth").write_bytes(CONTENT)
    with serve(served) as address:
        yield replace(
            PUBLISHED[0],
            file_name="encoder.pth",
            url=f"{address}/encoder.pth",
            sha256=hashlib.sha256(CONTENT).hexdigest(),
        )


def test_fetching_gets_the_published_bytes_and_does_nothing_the_second_time(
    published: PublishedWeights,
) -> None:
    counts: list[int] = []
    file = fetch_weights(published, counts.append)
    assert file.read_bytes() == CONTENT
    assert sum(counts) == len(CONTENT)
    assert fetch_weights(published, counts.append) == file
    assert sum(counts) == len(CONTENT)


def test_other_content_is_refused_and_leaves_nothing(published: PublishedWeights) -> None:
    other = replace(published, sha256="0" * 64)
    with pytest.raises(CheckpointError, match="with sha256 0000"):
        fetch_weights(other, lambda _: None)
    assert not list(fetched_file(other).parent.iterdir())


def test_a_silent_address_is_one_sentence(published: PublishedWeights) -> None:
    missing = replace(published, url=published.url.replace("encoder", "nothing"))
    with pytest.raises(CheckpointError, match=r"nothing.pth to answer .*404"):
        fetch_weights(missing, lambda _: None)


def test_verify_finds_a_flipped_byte(published: PublishedWeights) -> None:
    with pytest.raises(CheckpointError, match="never fetched"):
        verify_weights(published)
    file = fetch_weights(published, lambda _: None)
    assert verify_weights(published) == file
    file.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(CheckpointError, match="delete it and fetch it again"):
        verify_weights(published)


def test_a_checkpoint_in_object_storage_is_used_once_it_was_fetched(
    s3_server: str, tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSSAM_WEIGHTS", str(tmp_path / "weights"))
    address = "s3://checkpoints-of-a-test/models/tiny.safetensors"
    bucket = fsspec.filesystem("s3", endpoint_url=s3_server, skip_instance_cache=True)
    bucket.mkdir("checkpoints-of-a-test")
    bucket.put(tiny_model, address)
    bucket.pipe(address + ".txt", b"no checkpoint")
    with pytest.raises(CheckpointError, match="never fetched; run `possam weights fetch s3://"):
        model_fingerprint(address)
    file = fetch_checkpoint(address, lambda _: None)
    assert file.read_bytes() == Path(tiny_model).read_bytes()
    assert model_fingerprint(address) == model_fingerprint(tiny_model)

    with pytest.raises(CheckpointError, match="cannot be read as one"):
        fetch_checkpoint(address + ".txt", lambda _: None)
    with pytest.raises(CheckpointError, match="check the address"):
        fetch_checkpoint("s3://checkpoints-of-a-test/none.safetensors", lambda _: None)
    assert [f.name for f in (tmp_path / "weights").rglob("*.safetensors*")] == ["tiny.safetensors"]


def test_a_misspelt_name_gets_the_nearest_as_a_hint() -> None:
    with pytest.raises(CheckpointError, match="did you mean 'vit_b'"):
        find_weights("vitb")


def test_the_list_says_what_is_published_and_what_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSSAM_WEIGHTS", str(tmp_path))
    shown = CliRunner().invoke(app, ["weights", "list"]).output
    assert "possam-tiny" in shown
    assert all(w.url in shown for w in PUBLISHED)
    assert shown.count("not fetched") == len(PUBLISHED) + 1  # FC-CLIP


def test_names_and_hashes_of_published_weights_are_well_formed() -> None:
    assert len({w.name for w in PUBLISHED}) == len(PUBLISHED)
    assert all(len(bytes.fromhex(w.sha256)) == 32 for w in PUBLISHED)
    assert {w.part for w in PUBLISHED} == {"sam", "clip"}
