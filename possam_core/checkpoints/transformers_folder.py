"""Models of the library transformers as folders: what their files say without any tensor.

Free of torch and of the library. The tensors are the matter of `possam_core/teachers/closed.py`.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from possam_core.checkpoints.card import TeacherCard
from possam_core.checkpoints.model_file import (
    TEACHER,
    TRANSFORMERS,
    file_sha256,
    is_model_file,
    read_model_file,
    require_keys,
)
from possam_core.errors import CheckpointError, one_line
from possam_core.vocabulary.builtin import builtin_vocabularies, find_vocabulary
from possam_core.vocabulary.published_names import match_classes
from possam_core.vocabulary.vocabulary import Vocabulary

MODEL_TYPES = ("eomt", "mask2former", "oneformer")
CONFIG = "config.json"
INPUT_CONFIGS = ("preprocessor_config.json", "processor_config.json")  # the first that is there
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"  # as a rule; large ones come in parts
INDEX = ".index.json"  # of the parts
KEYS = (TEACHER, "folder", "classes", "licence", "revision")
GENERIC_NAME = re.compile(r"LABEL_\d+")  # the library's, of classes that nobody named
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformersFolder:
    """A folder as the library writes it and its hub publishes it."""

    path: Path
    config: Mapping[str, Any]
    model_type: str
    vocabulary: Vocabulary  # the model's own classes, with their kinds
    outputs: tuple[int, ...]  # per class of the vocabulary, its place in the network's output
    published_names: tuple[str, ...]  # as the configuration has them
    weights: tuple[Path, ...]
    licence: str | None
    revision: str | None

    def read_card(self) -> TeacherCard:
        """What is known of the model; its files are hashed."""
        used = [self.path / CONFIG, input_config_file(self.path), *self.weights]
        files = {file.name: file_sha256(file) for file in used}
        content = {"files": files, "classes": self.vocabulary.fingerprint, "outputs": self.outputs}
        own_names = [name for entry in self.vocabulary.classes for name in entry.all_names]
        return TeacherCard(
            name=_name(self.path),
            fingerprint=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
            revision=self.revision,
            licence=self.licence,
            files=files,
            training_names=tuple(dict.fromkeys((*own_names, *self.published_names))),
            vocabulary=self.vocabulary,
            is_closed=True,
        )


def is_transformers_folder(path: Path | str) -> bool:
    """Whether a folder holds a model as the library writes it."""
    return (Path(path) / CONFIG).is_file()


def find_transformers(model: str) -> TransformersFolder | None:
    """The folder at a path, or the one that a model file names; None: `model` is something else.

    Raises:
        CheckpointError: files are missing, or the model is none that can label.
        VocabularyError: its classes are named in a file that is no vocabulary.
    """
    path = Path(model)
    if is_transformers_folder(path):
        return _read_folder(path, {})
    if not is_model_file(path):
        return None
    content = read_model_file(path)
    if content.get(TEACHER) != TRANSFORMERS:
        return None
    require_keys(path, content, KEYS)
    for key, value in content.items():
        if not isinstance(value, str):
            raise CheckpointError(
                f"expected text as {key} in the model file {path}, got {value!r}; correct it"
            )
    folder = path.parent / content.get("folder", ".")
    if not is_transformers_folder(folder):
        raise CheckpointError(
            f"expected {CONFIG} in {folder}, which {path} names as folder, but there is none; give"
            " the folder of a downloaded model, relative to the model file"
        )
    classes = content.get("classes")
    if classes is not None and classes not in builtin_vocabularies():
        content["classes"] = str(path.parent / classes)
    return _read_folder(folder, content)


def input_config_file(folder: Path) -> Path:
    """The file that says how an image becomes the network's input.

    Raises:
        CheckpointError: there is none.
    """
    for name in INPUT_CONFIGS:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(
        f"expected {' or '.join(INPUT_CONFIGS)} in {folder}, but there is neither; download the"
        " whole folder"
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: it cannot be read, or is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"expected JSON in {path}, but it cannot be read ({one_line(error)}); download it again"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"expected settings by name in {path}, got {content!r}; correct it")
    return content


def _read_folder(folder: Path, named: Mapping[str, str]) -> TransformersFolder:
    """The folder, where `named` is what a model file says of it."""
    config = read_json(folder / CONFIG)
    model_type = config.get("model_type")
    if model_type not in MODEL_TYPES:
        raise CheckpointError(
            f"expected a model of the type {', '.join(MODEL_TYPES)} in {folder}, got {model_type};"
            " name another, or write a teacher of your own (docs/teachers.md)"
        )
    names = _class_names(folder, config)
    vocabulary = _own_vocabulary(folder, names, named.get("classes"))
    return TransformersFolder(
        path=folder.resolve(),
        config=config,
        model_type=model_type,
        vocabulary=vocabulary,
        outputs=_outputs(folder, names, vocabulary),
        published_names=tuple(n for n in names if not GENERIC_NAME.fullmatch(n)),
        weights=tuple(_weights(folder)),
        licence=named.get("licence") or _licence(folder),
        revision=named.get("revision") or _revision(folder),
    )


def _class_names(folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    id2label = config.get("id2label")
    if id2label is None:
        number = config.get("num_labels", 2)
        if type(number) is not int or number < 1:
            raise CheckpointError(
                f"expected a number of classes as num_labels in {folder / CONFIG}, got"
                f" {number!r:.80}; correct it"
            )
        return tuple(f"LABEL_{i}" for i in range(number))
    if (
        not isinstance(id2label, dict)
        or not id2label
        or set(id2label) != {str(i) for i in range(len(id2label))}
    ):
        raise CheckpointError(
            f"expected id2label in {folder / CONFIG} to name the classes 0, 1, 2 and so on, got"
            f" {id2label!r:.80}; correct it"
        )
    return tuple(str(id2label[str(i)]).strip() for i in range(len(id2label)))


def _own_vocabulary(folder: Path, names: tuple[str, ...], source: str | None) -> Vocabulary:
    """The one that is named, or the built-in one that has the same classes."""
    if source is not None:
        return find_vocabulary(source)
    for name in builtin_vocabularies():
        vocabulary = find_vocabulary(name)
        if len(vocabulary) == len(names) and None not in _matched(names, vocabulary):
            return vocabulary
    unnamed = all(GENERIC_NAME.fullmatch(name) for name in names)
    lack = "does not say their names" if unnamed else "does not say which are things"
    raise CheckpointError(
        f"expected to know the {len(names)} classes of {folder}, but {CONFIG} {lack}; write a model"
        f" file with `teacher: {TRANSFORMERS}`, `folder: {folder}` and `classes:` with a vocabulary"
        " of them in the model's order, such as coco-panoptic, and name that file as the model"
    )


def _outputs(folder: Path, names: tuple[str, ...], vocabulary: Vocabulary) -> tuple[int, ...]:
    """Per class of `vocabulary`, its place among `names`; unnamed ones are taken in order."""
    if len(names) == len(vocabulary):
        if all(GENERIC_NAME.fullmatch(name) for name in names):
            return tuple(range(len(names)))
        matched = _matched(names, vocabulary)
        if None not in matched:
            return tuple(matched.index(i) for i in range(len(names)))
        unknown = [name for name, i in zip(names, matched, strict=True) if i is None]
        found = f"no class for {', '.join(unknown[:3])} among others" if unknown else ""
    else:
        found = f"{len(vocabulary)} classes"
    raise CheckpointError(
        f"expected a vocabulary of the {len(names)} classes of {folder} as its classes, but"
        f" {vocabulary.name!r} has {found}; name the one that the model was trained with"
    )


def _matched(names: tuple[str, ...], vocabulary: Vocabulary) -> tuple[int | None, ...]:
    return match_classes([(name,) for name in names], vocabulary)


def _weights(folder: Path) -> Iterator[Path]:
    """The files that the library would read; it prefers the form that runs no code."""
    for name in (SAFE, PICKLED):
        if (folder / name).is_file():
            yield folder / name
            return
        if (index := folder / f"{name}{INDEX}").is_file():
            named = read_json(index).get("weight_map")
            parts = {str(part) for part in named.values()} if isinstance(named, dict) else set()
            missing = [part for part in sorted(parts) if not (folder / part).is_file()]
            if missing or not parts:
                raise CheckpointError(
                    f"expected the parts that {index} names, but"
                    f" {', '.join(missing) + ' are not there' if missing else 'it names none'};"
                    " download the whole folder"
                )
            yield index
            yield from (folder / part for part in sorted(parts))
            return
    raise CheckpointError(
        f"expected {SAFE} or {PICKLED} in {folder}, but there is neither; download the whole folder"
    )


def _licence(folder: Path) -> str | None:
    """As the head of the model's page states it, in YAML between two lines of dashes."""
    readme = folder / "README.md"
    if not readme.is_file():
        return None
    before, _, rest = readme.read_text(encoding="utf-8", errors="replace").partition("---\n")
    head, end, _ = rest.partition("\n---")
    if before.strip() or not end:
        return None
    try:
        content = yaml.safe_load(head)
    except yaml.YAMLError:
        return None
    licence = content.get("license") if isinstance(content, dict) else None
    return licence if isinstance(licence, str) else None


def _name(folder: Path) -> str:
    """That of the folder, or as the hub has it where the hub's tools keep many revisions."""
    if COMMIT.fullmatch(folder.name) is None:
        return folder.name
    return folder.parent.parent.name.removeprefix("models--").replace("--", "/")


def _revision(folder: Path) -> str | None:
    """The commit, as the hub's tools keep it: in the folder's name, or in a note beside it."""
    if COMMIT.fullmatch(folder.absolute().name):
        return folder.absolute().name
    note = folder / ".cache" / "huggingface" / "download" / f"{CONFIG}.metadata"
    first = note.read_text(encoding="utf-8").partition("\n")[0] if note.is_file() else ""
    return first if COMMIT.fullmatch(first) else None
