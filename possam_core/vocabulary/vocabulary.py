"""Vocabularies: classes written in plain words, each a thing or stuff."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from possam_core.errors import VocabularyError, nearest
from possam_core.vocabulary.vocabulary_class import (
    Finding,
    VocabularyClass,
    find_mistakes,
    read_class,
)

__all__ = [
    "PROMPT_TEMPLATES",
    "Finding",
    "Vocabulary",
    "VocabularyClass",
    "VocabularyDraft",
    "load_draft",
    "load_vocabulary",
]

# The prompts that wrap a name; averaging over them steadies its embedding (docs/method.md 5.2).
PROMPT_TEMPLATES = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    "a photo of a small {}.",
    "a photo of a medium {}.",
    "a photo of a large {}.",
    "This is a photo of a small {}.",
    "This is a photo of a medium {}.",
    "This is a photo of a large {}.",
    "There is a small {} in the scene.",
    "There is a medium {} in the scene.",
    "There is a large {} in the scene.",
)

# Both build plain data alone; in C, where PyYAML has it, 1,203 classes take some 50 ms.
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """An ordered list of classes; a class's position in it is its class index.

    Example:
        >>> from possam_core import Vocabulary
        >>> cup = {"name": "cup", "kind": "thing", "synonyms": ["mug"]}
        >>> floor = {"name": "wooden floor", "kind": "stuff"}
        >>> kitchen = Vocabulary.from_records("kitchen", [cup, floor])
        >>> len(kitchen), kitchen.class_index("wooden floor")
        (2, 1)
    """

    name: str
    classes: tuple[VocabularyClass, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise VocabularyError(
                f"vocabulary {self.name!r} must have at least one class, got none; add one"
            )
        _refuse(self.name, list(find_mistakes(self.classes)))

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def fingerprint(self) -> str:
        """sha256 over everything that can change a label: ids, names, kinds, order, parents."""
        content = [
            [c.category_id, c.all_names, c.is_thing, *([c.parent] if c.parent else [])]
            for c in self.classes
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def class_index(self, name: str) -> int:
        """Position of the class called `name`.

        Raises:
            VocabularyError: no class has that name; the message proposes the nearest ones.
        """
        names = [c.name for c in self.classes]
        if name in names:
            return names.index(name)
        hint = nearest(name, names, otherwise="see its class list")
        raise VocabularyError(f"vocabulary {self.name!r} has no class {name!r}; {hint}")

    def subset(self, names: Iterable[str], *, name: str) -> "Vocabulary":
        """The classes called `names`, in this vocabulary's order, under a new vocabulary name.

        A class whose parent is left out has no parent there.
        """
        indices = {self.class_index(n) for n in names}
        kept = [c for i, c in enumerate(self.classes) if i in indices]
        kept_names = {c.name for c in kept}
        return Vocabulary(
            name=name,
            classes=tuple(c if c.parent in kept_names else replace(c, parent=None) for c in kept),
        )

    def seen_in(self, training_names: Iterable[str]) -> tuple[bool, ...]:
        """Per class: does it share a name or synonym with `training_names`, string for string?"""
        trained = set(training_names)
        return tuple(not trained.isdisjoint(c.all_names) for c in self.classes)

    def to_records(self) -> list[dict[str, object]]:
        """Plain records for JSON and YAML; `from_records` turns them back."""
        return [
            {
                "id": c.category_id,
                "name": c.name,
                "kind": "thing" if c.is_thing else "stuff",
                "synonyms": list(c.synonyms),
                **({"parent": c.parent} if c.parent else {}),
            }
            for c in self.classes
        ]

    @classmethod
    def from_records(cls, name: str, records: object) -> "Vocabulary":
        """Build from records `{name, kind: thing|stuff, synonyms?, parent?, id?}`.

        Ids default to the places in the list: 1, 2, ...

        Raises:
            VocabularyError: the records are not of that form; the message has every mistake.
        """
        return VocabularyDraft.from_records(name, records).finish()


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyDraft:
    """A vocabulary as written: what can be read of it, and every mistake in it."""

    name: str
    classes: tuple[VocabularyClass, ...]  # one without a kind stands as a thing
    mistakes: tuple[Finding, ...] = ()

    @classmethod
    def from_records(cls, name: str, records: object) -> "VocabularyDraft":
        """Read what can be read of `records`.

        Raises:
            VocabularyError: `records` are no list at all.
        """
        if not isinstance(records, list):
            raise VocabularyError(
                f"vocabulary {name!r} must be a list of classes, got {type(records).__name__}"
            )
        mistakes: list[Finding] = []
        read = [read_class(i, r, mistakes) for i, r in enumerate(records, start=1)]
        classes = tuple(c for c in read if c is not None)
        return cls(name=name, classes=classes, mistakes=(*mistakes, *find_mistakes(classes)))

    def finish(self) -> Vocabulary:
        """The vocabulary, if nothing is wrong with it.

        Raises:
            VocabularyError: something is wrong; the message has a line for each mistake.
        """
        _refuse(self.name, list(self.mistakes))
        return Vocabulary(name=self.name, classes=self.classes)


def load_vocabulary(path: Path | str) -> Vocabulary:
    """Read a YAML vocabulary: `classes:` with one `{name, kind, synonyms?, parent?, id?}` each.

    Raises:
        VocabularyError: the file is missing, is not YAML, or breaks that form; the message has
            every mistake.

    Example:
        >>> from pathlib import Path
        >>> from possam_core import load_vocabulary
        >>> _ = Path("kitchen.yaml").write_text("classes: [{name: cup, kind: thing}]")
        >>> load_vocabulary("kitchen.yaml").classes[0].name
        'cup'
    """
    return load_draft(path).finish()


def load_draft(path: Path | str) -> VocabularyDraft:
    """Read a YAML vocabulary as far as it can be read.

    Raises:
        VocabularyError: the file is missing, is not YAML, or is no list of classes.
    """
    path = Path(path)
    if not path.exists():
        there = sorted(each.name for each in path.parent.glob("*.y*ml"))
        otherwise = "check the path, write that file, or name one of `possam vocabulary list`"
        hint = nearest(path.name, there, otherwise=otherwise)
        raise VocabularyError(f"expected a vocabulary file at {path}, found none; {hint}")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=YAML_LOADER)
    except (OSError, UnicodeDecodeError) as error:
        raise VocabularyError(
            f"expected a readable vocabulary file at {path}, but it could not be read ({error})"
        ) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: 2026-02-30 is no date
        where = str(error).replace("\n", " ")
        raise VocabularyError(f"expected YAML in {path}, but it does not parse: {where}") from error
    if not isinstance(content, dict) or "classes" not in content:
        raise VocabularyError(f"expected a mapping with the key 'classes' in {path}; add it")
    if unknown := set(content) - {"name", "classes"}:
        raise VocabularyError(
            f"{path} has unknown keys {sorted(map(str, unknown))}; only 'name' and 'classes' are"
            " known"
        )
    return VocabularyDraft.from_records(str(content.get("name", path.stem)), content["classes"])


def _refuse(vocabulary: str, mistakes: list[Finding]) -> None:
    if len(mistakes) == 1:
        raise VocabularyError(f"vocabulary {vocabulary!r}: {mistakes[0]}")
    if mistakes:
        lines = ",\n  ".join(map(str, mistakes))
        raise VocabularyError(f"vocabulary {vocabulary!r} has {len(mistakes)} mistakes:\n  {lines}")
