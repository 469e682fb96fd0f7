"""Published encoder weights: which there are, fetching them when asked to, and checking them."""

import difflib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from possam_core.checkpoint import PART_NAMES, bundled_models, file_sha256
from possam_core.errors import CheckpointError
from possam_core.published import PUBLISHED, PublishedWeights, fetched_file

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60


def find_weights(name: str) -> PublishedWeights:
    """The published weights called `name`.

    Raises:
        CheckpointError: there are none; the message proposes the nearest name.
    """
    for weights in PUBLISHED:
        if weights.name == name:
            return weights
    names = [w.name for w in PUBLISHED]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "see `possam weights list`"
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
    return "\n".join(blocks)


def fetch_weights(weights: PublishedWeights, on_bytes: Callable[[int], None]) -> Path:
    """Download one file, unless it is there already; a damaged download leaves nothing behind.

    Args:
        weights: what to fetch.
        on_bytes: called with the number of bytes of each chunk that arrived.

    Raises:
        CheckpointError: the address does not answer, or answers with other content.
    """
    target = fetched_file(weights)
    if target.exists():
        verify_weights(weights)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    try:
        _download(weights, partial, on_bytes)
        _require_sha256(weights, partial, "fetch it again, or ask its publisher")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def verify_weights(weights: PublishedWeights) -> Path:
    """The fetched file, once its content is known to be the published one.

    Raises:
        CheckpointError: it was not fetched, or it differs.
    """
    file = fetched_file(weights)
    if not file.exists():
        raise CheckpointError(
            f"expected {weights.name} at {file}, but it was never fetched; run `possam weights"
            f" fetch {weights.name}`"
        )
    _require_sha256(weights, file, "delete it and fetch it again")
    return file


def _download(weights: PublishedWeights, target: Path, on_bytes: Callable[[int], None]) -> None:
    try:
        with (
            urllib.request.urlopen(weights.url, timeout=TIMEOUT_S) as reply,
            target.open("wb") as file,
        ):
            while chunk := reply.read(CHUNK_BYTES):
                file.write(chunk)
                on_bytes(len(chunk))
    except (OSError, urllib.error.URLError) as error:
        raise CheckpointError(
            f"expected {weights.url} to answer with {weights.file_name}, but it failed"
            f" ({error}); check the network, or copy the file to {fetched_file(weights)}"
        ) from error


def _require_sha256(weights: PublishedWeights, file: Path, remedy: str) -> None:
    found = file_sha256(file)
    if found != weights.sha256:
        raise CheckpointError(
            f"expected {weights.file_name} with sha256 {weights.sha256}, got {found}; {remedy}"
        )
