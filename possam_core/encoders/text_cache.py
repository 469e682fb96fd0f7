"""A disk cache of text embeddings: one CLIP embeds a vocabulary only once.

A thousand classes are some 17,000 prompts: minutes on a CPU, and seconds of GPU time in each worker
of a run. The cache is optional: unreadable files are computed and written again, and failed writes
are skipped, with a line in the log.

Axes: N names, D joint width.
"""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import open_clip
import safetensors.torch
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

logger = logging.getLogger(__name__)

TENSOR = "embeddings"
DIGEST = "sha256"  # of the tensor, in the file's header


def default_text_cache() -> Path | None:
    """`$XDG_CACHE_HOME/possam/text`, or `~/.cache/possam/text`; None if there is no home."""
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with contextlib.suppress(RuntimeError):  # a container's user without a home
        # The XDG specification says to ignore relative paths.
        cache = chosen if chosen.is_absolute() else Path.home() / ".cache"
        return cache / "possam" / "text"
    return None


def text_key(
    names: Sequence[tuple[int, str]],
    templates: Sequence[str],
    *,
    architecture: Mapping[str, object],
    tensors: Mapping[str, Tensor],
) -> str:
    """sha256 over everything that determines the embeddings.

    Versions and the kind of device are included, because others round or tokenise differently; so
    a hit is bit-identical to what a miss would compute.

    Args:
        names: each with the index of its class, in order.
        templates: prompts around a name.
        architecture: of the text tower, as plain values.
        tensors: weights of the text tower, by name.
    """
    versions = [torch.__version__, open_clip.__version__]
    content = [list(names), list(templates), dict(architecture), versions]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.device.type}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def read_or_embed(
    folder: Path | None, key: str, embed: Callable[[], Float[Tensor, "N D"]]
) -> Float[Tensor, "N D"]:
    """The embeddings under `key` in `folder` (on the CPU), or else those of `embed`.

    Safe in several processes at once: files appear whole. No problem with the folder raises.
    """
    if folder is None:
        logger.info("Text embeddings are not cached: this user has no home folder")
        return embed()
    path = folder / f"{key}.safetensors"
    cached = _read(path)
    if cached is not None:
        return cached
    embeddings = embed()
    _write(path, embeddings)
    return embeddings


def _read(path: Path) -> Tensor | None:
    try:
        with safe_open(path, framework="pt") as file:
            embeddings: Tensor = file.get_tensor(TENSOR).clone()  # not a view of the file
            expected = (file.metadata() or {}).get(DIGEST)
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        logger.info("Text embeddings in %s are written again: they are unreadable: %s", path, error)
        return None
    if hashlib.sha256(_bytes(embeddings)).hexdigest() != expected:
        logger.info("Text embeddings in %s are written again: the file is damaged", path)
        return None
    return embeddings


def _write(path: Path, embeddings: Tensor) -> None:
    digest = hashlib.sha256(_bytes(embeddings)).hexdigest()
    content = safetensors.torch.save({TENSOR: embeddings.cpu().contiguous()}, {DIGEST: digest})
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
            partial = Path(file.name)
            file.write(content)
        partial.replace(path)
    except OSError as error:
        logger.info("Text embeddings are not cached: %s cannot be written: %s", path, error)
        if partial is not None:
            with contextlib.suppress(OSError):
                partial.unlink()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
