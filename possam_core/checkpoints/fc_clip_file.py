"""FC-CLIP as files: what a model file says of it, and what is known of the model from that.

Free of torch. The tensors are the matter of `possam_core/teachers/fc_clip/files.py`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from possam_core.checkpoints.card import TeacherCard
from possam_core.checkpoints.model_file import (
    TEACHER,
    TRANSFORMERS,
    file_sha256,
    is_model_file,
    named_file,
    read_model_file,
    require_keys,
)
from possam_core.checkpoints.published import FC_CLIP_TOWER, find_published, weights_folder
from possam_core.errors import CheckpointError, one_line
from possam_core.vocabulary.builtin import builtin_vocabularies, find_vocabulary

FC_CLIP = "fc-clip"  # also the name of the fetched one
OVRCOAT = "ovrcoat"  # its layout, with a trunk of its own and other rules
PARTS = ("head", "clip")
SIZES = ("short_side", "long_side")
TEXTS = ("licence", "revision")
PINS = tuple(f"{part}_sha256" for part in PARTS)
KEYS = (TEACHER, *PARTS, *PINS, *SIZES, "training_vocabulary", "architecture", *TEXTS)
TRAINING_VOCABULARY = "fc-clip-coco"  # of the published weights
PROMPT_FILE_SUFFIX = ".txt"  # FC-CLIP's own form of names
PROMPT_LINE = re.compile(r"\d+:(?P<names>.+)")
NO_CLASS = "invalid_class_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class FcClipFile:
    """A model file of FC-CLIP, or of OVRCOAT."""

    path: Path
    teacher: str  # FC_CLIP or OVRCOAT
    head: Path
    clip: Path | None  # None: the head's file holds CLIP's towers, too
    pinned: Mapping[str, str]  # part -> the sha256 that its file must have
    sizes: Mapping[str, int]  # of images in the network, where they are not the published ones
    training_names: tuple[str, ...]
    architecture: Mapping[str, Any]  # empty: the published one
    licence: str | None
    revision: str | None

    def read_card(self) -> TeacherCard:
        """What is known of the model; its files are hashed, and compared with what was pinned.

        Raises:
            CheckpointError: a file is not the one that was pinned, or the tower not the published.
        """
        found = self.hash_files()
        for part, sha256 in found.items():
            self._require_pinned(part, sha256)
        content = {
            "teacher": self.teacher,
            **found,
            **self.sizes,
            "training_names": self.training_names,
            "architecture": self.architecture,
        }
        fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return TeacherCard(
            name=self.teacher,
            fingerprint=fingerprint,
            revision=self.revision,
            licence=self.licence,
            files={self.file(part).name: sha256 for part, sha256 in found.items()},
            training_names=self.training_names,
        )

    def verified_head(self) -> Path:
        """The head's file, which is the one that was pinned; the tower is not asked for.

        Raises:
            CheckpointError: it is another.
        """
        self._require_pinned("head", file_sha256(self.head))
        return self.head

    def hash_files(self) -> dict[str, str]:
        """The sha256 of each file, by part."""
        return {part: file_sha256(self.file(part)) for part in PARTS if part != "clip" or self.clip}

    def file(self, part: str) -> Path:
        """The file of a part; CLIP's may be the head's."""
        return self.clip if part == "clip" and self.clip else self.head

    def _require_pinned(self, part: str, found: str) -> None:
        file, wanted = self.file(part), self.pinned.get(part)
        if wanted is not None and wanted != found:
            raise CheckpointError(
                f"expected {file} with the sha256 that {self.path} pins ({wanted[:12]}...), got"
                f" {found[:12]}...; restore the file, or pin the new one with `possam weights pin`"
            )
        tower = find_published(FC_CLIP_TOWER)
        if part == "clip" and wanted is None and not self.architecture and found != tower.sha256:
            raise CheckpointError(
                f"expected the CLIP that FC-CLIP was trained on, {tower.name} of sha256"
                f" {tower.sha256[:12]}..., got {file} ({found[:12]}...); run `possam weights fetch"
                f" {tower.name}`, or, if it holds the same weights, pin it with `possam weights pin"
                f" {self.path}`"
            )


def find_fc_clip(model: str) -> FcClipFile | None:
    """The model file behind the name `fc-clip`, or a path; None: `model` is something else.

    Raises:
        CheckpointError: it was never fetched, or something is wrong with the model file.
    """
    path = fetched_model_file() if model == FC_CLIP else Path(model)
    if model == FC_CLIP and not path.is_file():
        raise CheckpointError(
            f"expected FC-CLIP's files as {path} names them, but they were never fetched; run"
            " `possam weights fetch fc-clip`"
        )
    if not is_model_file(path):
        return None
    content = read_model_file(path)
    is_ours = content.get(TEACHER, TRANSFORMERS) != TRANSFORMERS
    return _parse(path, content) if is_ours else None


def fetched_model_file() -> Path:
    """Where `possam weights fetch fc-clip` writes the model file."""
    return weights_folder() / FC_CLIP / "model.yaml"


def pinned_head() -> str | None:
    """The sha256 of the fetched head as its model file pins it; None: it was never fetched."""
    if not fetched_model_file().is_file():
        return None
    file = find_fc_clip(FC_CLIP)
    return file.pinned.get("head") if file else None


def _parse(path: Path, content: dict[str, Any]) -> FcClipFile:
    teacher = content[TEACHER]
    if teacher not in (FC_CLIP, OVRCOAT):
        raise CheckpointError(
            f"expected {FC_CLIP}, {OVRCOAT} or {TRANSFORMERS} as {TEACHER} in the model file"
            f" {path}, got {teacher!r}; correct it"
        )
    require_keys(path, content, KEYS)
    for kind, noun, keys in ((int, "a whole number", SIZES), (str, "text", (*PINS, *TEXTS))):
        for key in keys:
            if type(content.get(key, kind())) is not kind:
                raise _unfit(path, key, noun, content[key])
    if "head" not in content:
        raise CheckpointError(
            f"expected 'head' in the model file {path}, got none; name {teacher}'s checkpoint"
        )
    clip, architecture = content.get("clip"), content.get("architecture", {})
    if not isinstance(architecture, dict):
        raise _unfit(path, "architecture", "settings by name", architecture)
    return FcClipFile(
        path=path,
        teacher=teacher,
        head=named_file(path, "head", content["head"]),
        clip=None if clip is None else named_file(path, "clip", clip),
        pinned={
            part: content[pin] for part, pin in zip(PARTS, PINS, strict=True) if pin in content
        },
        sizes={key: content[key] for key in SIZES if key in content},
        training_names=_training_names(path, content.get("training_vocabulary")),
        architecture=architecture,
        licence=content.get("licence"),
        revision=content.get("revision"),
    )


def _training_names(path: Path, value: object) -> tuple[str, ...]:
    """All names of a list, a vocabulary, or a file of FC-CLIP's; not given: the published ones."""
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    if not isinstance(value, str | None) or value == "":
        raise _unfit(path, "training_vocabulary", "a list of names or a file", value)
    source = value or TRAINING_VOCABULARY
    if source not in builtin_vocabularies():
        source = str(named_file(path, "training_vocabulary", source))
    if source.endswith(PROMPT_FILE_SUFFIX):
        return _prompt_names(Path(source))
    return tuple(name for entry in find_vocabulary(source).classes for name in entry.all_names)


def _prompt_names(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"expected lines such as '3:car,cars' in {path}, but it cannot be read"
            f" ({one_line(error)}); save it as UTF-8"
        ) from error
    names = list[str]()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = PROMPT_LINE.fullmatch(line.strip())
        if match is None:
            raise CheckpointError(
                f"expected lines such as '3:car,cars' in {path}, got {line!r} in line {number};"
                " mend it, or give the names as a list"
            )
        names += [name.strip() for name in match["names"].split(",")]
    if not names:
        raise CheckpointError(
            f"expected lines such as '3:car,cars' in {path}, got none; give the names that the head"
            " was trained on"
        )
    return tuple(name for name in names if name != NO_CLASS)


def _unfit(path: Path, key: str, expected: str, found: object) -> CheckpointError:
    return CheckpointError(
        f"expected {expected} as {key} in the model file {path}, got {found!r}; correct it"
    )
