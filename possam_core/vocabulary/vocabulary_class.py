"""One class of a vocabulary: what it holds, how it is read, and what can be wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from possam_core.errors import nearest

KINDS = ("thing", "stuff")
KNOWN_KEYS = ("id", "name", "kind", "synonyms", "parent")  # of a class in a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to mend in a vocabulary: where, what is wrong, and what to do."""

    level: Literal["error", "warning"]
    class_name: str  # or "#3" for the third class, where it has no name
    sentence: str
    remedy: str

    def __str__(self) -> str:
        return f"class {self.class_name!r}: {self.sentence}; {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyClass:
    """One class: its id in the data set, its names, and whether it is a thing."""

    category_id: int  # unique and positive; what labels and annotations carry
    name: str
    is_thing: bool
    synonyms: tuple[str, ...] = ()
    parent: str | None = None  # name of the class that it is grouped under

    @property
    def all_names(self) -> tuple[str, ...]:
        """The name first, then its synonyms."""
        return (self.name, *self.synonyms)


def read_class(position: int, record: object, mistakes: list[Finding]) -> VocabularyClass | None:
    """The class that `record` describes, as far as it does; what is wrong joins `mistakes`.

    Args:
        position: its place in the list, from 1; the id where the record has none.
    """
    if not isinstance(record, dict):
        sentence = f"needs 'name' and 'kind', got {record!r}"
        remedy = "write {name: cup, kind: thing}"
        mistakes.append(mistake(f"#{position}", sentence, remedy))
        return None
    reader = _RecordReader(position, record, mistakes)
    fields = VocabularyClass(
        category_id=reader.read_id(),
        name=reader.class_name,
        is_thing=reader.read_kind() != "stuff",
        synonyms=reader.read_synonyms(),
        parent=reader.read_parent(),
    )
    return fields if reader.has_name else None


class _RecordReader:
    """Reads the keys of one class; a value that it cannot use becomes a mistake and a default."""

    def __init__(
        self, position: int, record: dict[object, object], mistakes: list[Finding]
    ) -> None:
        self.position, self.record, self.mistakes = position, record, mistakes
        name = record.get("name")
        self.has_name = isinstance(name, str)
        self.class_name = name if isinstance(name, str) else f"#{position}"
        if name is None:
            self.note("needs 'name'", "say what it is called")
        elif not self.has_name:
            self.note(f"the name must be text, got {name!r}", "put it in quotation marks")
        for key in [k for k in record if k not in KNOWN_KEYS]:
            hint = nearest(str(key), KNOWN_KEYS, otherwise=f"known are {', '.join(KNOWN_KEYS)}")
            self.note(f"unknown key {key!r}", hint)

    def note(self, sentence: str, remedy: str) -> None:
        """Add a mistake of this class."""
        self.mistakes.append(mistake(self.class_name, sentence, remedy))

    def read_kind(self) -> object:
        """The kind, known or not; None where there is none."""
        kind = self.record.get("kind")
        if kind is None:
            self.note("needs 'kind'", "add kind: thing or kind: stuff")
        elif kind not in KINDS:
            hint = nearest(str(kind), KINDS, otherwise="things are counted, stuff is not")
            self.note(f"kind must be thing or stuff, got {kind!r}", hint)
        return kind

    def read_synonyms(self) -> tuple[str, ...]:
        """The synonyms; a number is read as its digits."""
        synonyms = self.record.get("synonyms") or []
        if isinstance(synonyms, list) and all(type(s) in (str, int, float) for s in synonyms):
            return tuple(str(s) for s in synonyms)
        sentence = f"synonyms must be a list of names, got {synonyms!r}"
        self.note(sentence, "write synonyms: [mug, beaker]")
        return ()

    def read_id(self) -> int:
        """The id; the position where there is none."""
        category_id = self.record.get("id", self.position)
        if isinstance(category_id, int) and not isinstance(category_id, bool):
            return category_id
        self.note(f"id must be a whole number, got {category_id!r}", "or leave all ids out")
        return self.position

    def read_parent(self) -> str | None:
        """The name of the class above this one, if there is one."""
        parent = self.record.get("parent")
        if parent is None or isinstance(parent, str):
            return parent
        self.note(f"parent must be the name of a class, got {parent!r}", "name one")
        return None


def find_mistakes(classes: tuple[VocabularyClass, ...]) -> Iterator[Finding]:
    """What makes `classes` unusable together: blank names, twins, parents that cannot be."""
    owner_of_id: dict[int, str] = {}
    parents = {c.name: c.parent for c in classes}
    names: set[str] = set()
    for entry in classes:
        name, category_id = entry.name, entry.category_id
        if not all(n.strip() for n in entry.all_names):
            yield mistake(name, "a name or synonym is blank", "fill it in or leave it out")
        if name in names:
            yield mistake(
                name,
                f"every name must be unique, but {name} occurs more than once",
                "merge them, or say in words what sets them apart",
            )
        if category_id <= 0:
            yield mistake(name, f"id must be positive, got {category_id}", "count from 1")
        elif category_id in owner_of_id:
            yield mistake(
                name,
                f"every id must be unique, but {category_id} is also that of"
                f" {owner_of_id[category_id]!r}",
                "give every class an id of its own, or none of them",
            )
        names.add(name)
        owner_of_id.setdefault(category_id, name)
        if entry.parent is not None and entry.parent not in parents:
            hint = nearest(entry.parent, parents, otherwise="add it as a class of its own")
            yield mistake(name, f"the parent {entry.parent!r} is no class here", hint)
        elif name in _ancestors(name, parents):
            yield mistake(name, "is its own ancestor", "take one parent out of the circle")


def _ancestors(name: str, parents: dict[str, str | None]) -> list[str]:
    """Parent, grandparent and so on; it stops where it meets a class again."""
    chain: list[str] = []
    above = parents[name]
    while above is not None and above not in chain:
        chain.append(above)
        above = parents.get(above)
    return chain


def mistake(class_name: str, sentence: str, remedy: str) -> Finding:
    """A finding that makes a vocabulary unusable."""
    return Finding(level="error", class_name=class_name, sentence=sentence, remedy=remedy)
