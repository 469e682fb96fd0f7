"""Published encoder weights: list, fetch on request, and verify them."""

import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO, cast

from possam_core.checkpoints.fc_clip_file import FC_CLIP, fetched_model_file, pinned_head
from possam_core.checkpoints.header import read_header
from possam_core.checkpoints.model_file import file_sha256
from possam_core.checkpoints.models import PART_NAMES, bundled_models
from possam_core.checkpoints.published import (
    FC_CLIP_HEAD,
    FC_CLIP_HEAD_PAGE,
    FC_CLIP_HEAD_URL,
    FC_CLIP_LICENCE,
    FC_CLIP_TOWER,
    PUBLISHED,
    PublishedWeights,
    fetched_file,
    remote_file,
)
from possam_core.errors import CheckpointError, nearest

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60


def find_weights(name: str) -> PublishedWeights:
    """The published weights called `name`.

    Raises:
        CheckpointError: there are none; the message suggests the nearest name.
    """
    for weights in PUBLISHED:
        if weights.name == name:
            return weights
    names = [FC_CLIP, *(w.name for w in PUBLISHED)]
    hint = nearest(name, names, otherwise="see `possam weights list`")
    raise CheckpointError(f"expected one of {', '.join(names)}, got {name!r}; {hint}")


def describe_weights() -> str:
    """What each model needs, where it is published, and where it was found; a few lines each."""
    blocks = [f"{name}: whole model, ships in the package" for name in bundled_models()]
    for weights in PUBLISHED:
        file = fetched_file(weights)
        size = "" if weights.size_bytes is None else f", {weights.size_bytes / 1e6:,.0f} MB"
        blocks.append(
            f"{weights.name}: {PART_NAMES[weights.part]} encoder{size}, {weights.licence}\n"
            f"  published at {weights.url}\n"
            f"  sha256 {weights.sha256}\n"
            f"  {f'found at {file}' if file.exists() else 'not fetched'}"
        )
    model_file = fetched_model_file()
    blocks.append(
        f"{FC_CLIP}: whole model, a head ({FC_CLIP_HEAD}, 83 MB) on {FC_CLIP_TOWER}; licence:"
        f" {FC_CLIP_LICENCE}\n"
        f"  head published at {FC_CLIP_HEAD_PAGE}\n"
        "  sha256 pinned when it is fetched\n"
        f"  {f'found at {model_file}' if model_file.exists() else 'not fetched'}"
    )
    return "\n".join(blocks)


def weights_records() -> list[dict[str, Any]]:
    """The published weights for programs; `file` is null where they were not fetched.

    That of FC-CLIP's head is its model file; `sha256` is null until the head was pinned.
    """
    found = [(asdict(weights), fetched_file(weights)) for weights in PUBLISHED]
    head = {
        "name": FC_CLIP,
        "part": "head",
        "file_name": FC_CLIP_HEAD,
        "url": FC_CLIP_HEAD_URL,
        "size_bytes": None,
        "sha256": pinned_head(),
        "licence": FC_CLIP_LICENCE,
    }
    found.append((head, fetched_model_file()))
    return [record | {"file": str(file) if file.exists() else None} for record, file in found]


def fetch_weights(weights: PublishedWeights, on_bytes: Callable[[int], None]) -> Path:
    """Download one file, unless it is there already; a damaged download leaves nothing behind.

    Args:
        weights: what to fetch.
        on_bytes: called with the number of bytes of each chunk that arrives.

    Raises:
        CheckpointError: the address does not answer, or its content has another sha256.
    """
    target = fetched_file(weights)
    if target.exists():
        return verify_weights(weights)
    remedy = "fetch it again, or ask its publisher"
    return fetch_url(
        weights.url, target, on_bytes, lambda file: _require_sha256(weights, file, remedy)
    )


def fetch_url(
    url: str, target: Path, on_bytes: Callable[[int], None], check: Callable[[Path], object]
) -> Path:
    """Download a file to `target`, in place of what is there, if `check` does not raise.

    Raises:
        CheckpointError: the address does not answer, or `check` refuses its content.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as reply:
            _copy(reply, target, on_bytes, check)
    except (OSError, HTTPException, ValueError) as error:
        raise CheckpointError(
            f"expected {url} to answer with {target.name}, but it failed"
            f" ({error}); check the network, or get the file in another"
            f" way, save it as {target}, and run the same command again"
        ) from error
    return target


def fetch_checkpoint(address: str, on_bytes: Callable[[int], None]) -> Path:
    """Copy a checkpoint from `s3://bucket/key` or `hf://owner/name/file`, unless it is there.

    Raises:
        CheckpointError: it cannot be read, or is not a checkpoint; nothing is kept then.
    """
    target = remote_file(address)
    if target.exists():
        return target
    try:
        with _open_remote(address) as source:
            _copy(source, target, on_bytes, read_header)
    except _errors_at(address) as error:
        raise CheckpointError(
            f"expected a checkpoint at {address}, but it cannot be read ({error}); check the"
            " address and the credentials"
        ) from error
    return target


def _copy(
    source: BinaryIO,
    target: Path,
    on_bytes: Callable[[int], None],
    check: Callable[[Path], object],
) -> None:
    """Write all of `source` to `target` if `check` does not raise; else leave nothing behind."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"partial-{target.name}")  # its ending says how to read it
    try:
        with partial.open("wb") as file:
            while chunk := source.read(CHUNK_BYTES):
                file.write(chunk)
                on_bytes(len(chunk))
        check(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _open_remote(address: str) -> AbstractContextManager[BinaryIO]:
    if address.startswith("hf://"):
        owner, _, rest = address.removeprefix("hf://").partition("/")
        name, _, file = rest.partition("/")
        url = f"https://huggingface.co/{owner}/{name}/resolve/main/{file}"
        return cast(
            AbstractContextManager[BinaryIO], urllib.request.urlopen(url, timeout=TIMEOUT_S)
        )
    import fsspec  # of the extra [s3], as is botocore below

    return cast(AbstractContextManager[BinaryIO], fsspec.open(address, "rb"))


def _errors_at(address: str) -> tuple[type[Exception], ...]:
    """The errors that opening and reading an address may raise."""
    if address.startswith("hf://"):
        return (OSError, ValueError)
    from botocore.exceptions import BotoCoreError

    return (OSError, ValueError, BotoCoreError)


def verify_weights(weights: PublishedWeights) -> Path:
    """The path of the fetched file, whose sha256 is the published one.

    Raises:
        CheckpointError: it was not fetched, or its sha256 differs.
    """
    file = fetched_file(weights)
    if not file.exists():
        raise CheckpointError(
            f"expected {weights.name} at {file}, but it was never fetched; run `possam weights"
            f" fetch {weights.name}`"
        )
    _require_sha256(weights, file, "delete it and fetch it again")
    return file


def _require_sha256(weights: PublishedWeights, file: Path, remedy: str) -> None:
    found = file_sha256(file)
    if found != weights.sha256:
        raise CheckpointError(
            f"expected {weights.file_name} with sha256 {weights.sha256}, got {found}; {remedy}"
        )
