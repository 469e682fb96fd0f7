"""Vocabularies: classes written in plain words, each a thing or stuff."""

import difflib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from possam_core.errors import VocabularyError

# The prompts that wrap a name; averaging over them steadies its embedding (METHOD 7.2).
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


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyClass:
    """One class: its id in the data set, its names, and whether it is a thing."""

    category_id: int  # unique and positive; what labels and annotations carry
    name: str
    is_thing: bool
    synonyms: tuple[str, ...] = ()

    @property
    def all_names(self) -> tuple[str, ...]:
        """The name first, then its synonyms."""
        return (self.name, *self.synonyms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """An ordered list of classes; a class's position in it is its class index."""

    name: str
    classes: tuple[VocabularyClass, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise VocabularyError(
                f"vocabulary {self.name!r} must have at least one class, got none; add one"
            )
        _refuse_twins(self.name, "category_id", [c.category_id for c in self.classes])
        _refuse_twins(self.name, "name", [c.name for c in self.classes])
        for entry in self.classes:
            if entry.category_id <= 0 or not all(n.strip() for n in entry.all_names):
                raise VocabularyError(
                    f"vocabulary {self.name!r}: a class needs a positive category_id and names that"
                    f" are not blank, got {entry.category_id} and {entry.all_names}"
                )

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def fingerprint(self) -> str:
        """sha256 over everything that can change a label: ids, names, synonyms, kinds, order."""
        content = [[c.category_id, c.all_names, c.is_thing] for c in self.classes]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def class_index(self, name: str) -> int:
        """Position of the class called `name`.

        Raises:
            VocabularyError: no class has that name; the message proposes the nearest ones.
        """
        names = [c.name for c in self.classes]
        if name in names:
            return names.index(name)
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "see its class list"
        raise VocabularyError(f"vocabulary {self.name!r} has no class {name!r}; {hint}")

    def subset(self, names: Iterable[str], *, name: str) -> "Vocabulary":
        """The classes called `names`, in this vocabulary's order, under a new vocabulary name."""
        keep = {self.class_index(n) for n in names}
        return Vocabulary(
            name=name, classes=tuple(c for i, c in enumerate(self.classes) if i in keep)
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
            }
            for c in self.classes
        ]

    @classmethod
    def from_records(cls, name: str, records: object) -> "Vocabulary":
        """Build from records `{name, kind: thing|stuff, synonyms?, id?}`; ids default to 1, 2, ...

        Raises:
            VocabularyError: the records are not of that form.
        """
        if not isinstance(records, list):
            raise VocabularyError(
                f"vocabulary {name!r} must be a list of classes, got {type(records).__name__}"
            )
        return cls(
            name=name,
            classes=tuple(_class_from_record(name, i, r) for i, r in enumerate(records, start=1)),
        )


def load_vocabulary(path: Path) -> Vocabulary:
    """Read a YAML vocabulary: `classes:` with one `{name, kind, synonyms}` each.

    Raises:
        VocabularyError: the file is missing, is not YAML, or breaks that form.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise VocabularyError(
            f"expected a readable vocabulary file at {path}, but it could not be read ({error})"
        ) from error
    except yaml.YAMLError as error:
        where = str(error).replace("\n", " ")
        raise VocabularyError(f"expected YAML in {path}, but it does not parse: {where}") from error
    if not isinstance(content, dict) or "classes" not in content:
        raise VocabularyError(f"expected a mapping with the key 'classes' in {path}; add it")
    if unknown := set(content) - {"name", "classes"}:
        raise VocabularyError(
            f"{path} has unknown keys {sorted(map(str, unknown))}; only 'name' and 'classes' are"
            " known"
        )
    return Vocabulary.from_records(str(content.get("name", path.stem)), content["classes"])


def _class_from_record(vocabulary: str, position: int, record: object) -> VocabularyClass:
    where = f"class {position} of vocabulary {vocabulary!r}"
    if not isinstance(record, dict) or not {"name", "kind"} <= set(record):
        raise VocabularyError(f"{where} needs 'name' and 'kind' (thing or stuff), got {record!r}")
    if unknown := set(record) - {"id", "name", "kind", "synonyms"}:
        raise VocabularyError(
            f"{where} has unknown keys {sorted(map(str, unknown))};"
            " known are id, name, kind, synonyms"
        )
    if record["kind"] not in ("thing", "stuff"):
        raise VocabularyError(f"{where}: kind must be thing or stuff, got {record['kind']!r}")
    synonyms = record.get("synonyms") or []
    if not isinstance(record["name"], str) or not isinstance(synonyms, list):
        raise VocabularyError(f"{where}: name must be text and synonyms a list, got {record!r}")
    category_id = record.get("id", position)
    if not isinstance(category_id, int):
        raise VocabularyError(f"{where}: id must be a whole number, got {category_id!r}")
    return VocabularyClass(
        category_id=category_id,
        name=record["name"],
        is_thing=record["kind"] == "thing",
        synonyms=tuple(str(s) for s in synonyms),
    )


def _refuse_twins(vocabulary: str, what: str, values: list[object] | list[int] | list[str]) -> None:
    twins = sorted({str(v) for v in values if values.count(v) > 1})  # type: ignore[arg-type]
    if twins:
        raise VocabularyError(
            f"vocabulary {vocabulary!r}: every {what} must be unique, but {', '.join(twins)} occurs"
            " more than once"
        )
