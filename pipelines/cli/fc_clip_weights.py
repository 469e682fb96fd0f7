"""FC-CLIP's two files: fetched or named, pinned by their sha256, and described by a model file."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import yaml

from pipelines.cli.weights import fetch_url, fetch_weights, find_weights
from possam_core.checkpoints.fc_clip_file import (
    FC_CLIP,
    PARTS,
    fetched_model_file,
    find_fc_clip,
)
from possam_core.checkpoints.model_file import file_sha256
from possam_core.checkpoints.published import (
    FC_CLIP_HEAD,
    FC_CLIP_HEAD_PAGE,
    FC_CLIP_HEAD_URL,
    FC_CLIP_LICENCE,
    FC_CLIP_TOWER,
    weights_folder,
)
from possam_core.errors import CheckpointError, ConfigError

WEB = ("http://", "https://")
OnBytes = Callable[[int], None]


def fetch_fc_clip(head: str | None, clip: str | None, on_bytes: OnBytes) -> Path:
    """The model file of FC-CLIP, after its files were fetched; what is there already stays.

    Args:
        head: address or file of the head; None: where it is published.
        clip: address or file of CLIP's towers; None: the head's own, or the published ones.
        on_bytes: called with the number of bytes of each chunk that arrives.

    Raises:
        CheckpointError: a file cannot be fetched, is not what it should be, or is not the one
            that was pinned; no model file is written then.
    """
    target = fetched_model_file()
    if target.is_file() and head is None and clip is None:
        return verify_fc_clip()
    head_file = _head_file(head, on_bytes)
    content = {"teacher": FC_CLIP, "head": _named(head_file), "head_sha256": file_sha256(head_file)}
    clip_file = _clip_file(head_file, clip, on_bytes)
    if clip_file is not None:
        content |= {"clip": _named(clip_file), "clip_sha256": file_sha256(clip_file)}
    content["licence"] = FC_CLIP_LICENCE
    partial = target.with_suffix(".partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    partial.replace(target)
    return target


def verify_fc_clip() -> Path:
    """The path of the model file, whose files have the sha256 that was pinned.

    Raises:
        CheckpointError: it was never fetched, or a file has changed.
    """
    file = find_fc_clip(FC_CLIP)
    assert file is not None  # the name alone means it
    file.read_card()
    return file.path


def pin_files(path: Path) -> dict[str, str]:
    """Write the sha256 of its files into a model file, in place of older ones; the rest stays.

    Returns:
        The sha256 by part.

    Raises:
        ConfigError: it is no model file of FC-CLIP.
    """
    file = find_fc_clip(str(path))
    if file is None:
        raise ConfigError(
            f"expected a model file of FC-CLIP, got {path}; checkpoints of PosSAM name the sha256"
            " of their encoders themselves"
        )
    found = file.hash_files()
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(tuple(f"{p}_sha256:" for p in PARTS))]
    kept += [f"{part}_sha256: {sha256}" for part, sha256 in found.items()]
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text("\n".join(kept) + "\n", encoding="utf-8")
    shutil.copymode(path, partial)
    partial.replace(path)
    return found


def _head_file(head: str | None, on_bytes: OnBytes) -> Path:
    """As named; unnamed, what was saved by hand, or came before its tower failed, is kept."""
    by_hand = fetched_model_file().with_name(FC_CLIP_HEAD)
    if head is None and by_hand.is_file():
        _require_head(by_hand)
        return by_hand
    return _obtain(head or FC_CLIP_HEAD_URL, FC_CLIP_HEAD, on_bytes, _require_head)


def _clip_file(head: Path, clip: str | None, on_bytes: OnBytes) -> Path | None:
    from possam_core.teachers.fc_clip.names import CLIP  # torch: listing does without

    if clip is not None:
        return _obtain(clip, find_weights(FC_CLIP_TOWER).file_name, on_bytes, _require_tensors)
    if any(name.startswith(CLIP) for name in _require_head(head)):
        return None
    return fetch_weights(find_weights(FC_CLIP_TOWER), on_bytes)


def _obtain(source: str, name: str, on_bytes: OnBytes, check: Callable[[Path], object]) -> Path:
    """The file itself, or the copy of an address in the folder of the model file."""
    if source.startswith(WEB):
        target = fetched_model_file().with_name(_name_at(source, name))
        return fetch_url(source, target, on_bytes, check)
    file = Path(source).absolute()
    if not file.is_file():
        raise CheckpointError(
            f"expected an address or a file with {name}, got {source!r}, and there is no such"
            " file; correct it"
        )
    check(file)
    return file


def _named(file: Path) -> str:
    """As the model file calls it: what lies with it in the weights folder may move with it."""
    if file.is_relative_to(weights_folder()):
        return os.path.relpath(file, fetched_model_file().parent)
    return str(file)


def _name_at(address: str, name: str) -> str:
    """`name` with the ending that the address has, for the ending says how to read it."""
    suffix = Path(address.partition("?")[0]).suffix
    return Path(name).with_suffix(suffix).name if suffix == ".safetensors" else name


def _require_tensors(path: Path) -> dict[str, object]:
    from possam_core.encoders.tensor_file import read_tensors

    return dict(read_tensors(path, what="CLIP"))


def _require_head(path: Path) -> dict[str, object]:
    from possam_core.encoders.tensor_file import read_tensors
    from possam_core.teachers.fc_clip.names import HEAD

    by_hand = (
        f"download {FC_CLIP_HEAD} by hand, from the row ConvNeXt-Large at {FC_CLIP_HEAD_PAGE}, and"
        " run `possam weights fetch fc-clip --head FILE`"
    )
    try:
        tensors = dict(read_tensors(path, what="FC-CLIP"))
    except CheckpointError as error:
        raise CheckpointError(
            f"expected FC-CLIP's head, but what came is no file of tensors, perhaps a page or an"
            f" incomplete file ({error}); {by_hand}"
        ) from error
    if not any(name.startswith(HEAD) for name in tensors):
        found = ", ".join(sorted(tensors)[:3]) or "nothing"
        raise CheckpointError(
            f"expected FC-CLIP's head in {path}, but it holds other tensors ({found}); {by_hand}"
        )
    return dict(tensors)
