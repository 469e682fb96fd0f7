"""The classes of a run, kept beside its plan: reading needs neither model nor vocabulary file."""

import json
from dataclasses import dataclass
from typing import Any

from pipelines.run.folder import VOCABULARY_KEY, RunFolder
from possam_core.errors import ConfigError
from possam_core.vocabulary.vocabulary import Vocabulary
from possam_core.vocabulary.vocabulary_class import VocabularyClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One class of a run; its position among all is its class index."""

    id: int
    name: str
    is_thing: bool
    is_seen: bool | None  # in the model's training vocabulary; None: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenVocabulary:
    """The classes with which a run will be planned."""

    vocabulary: Vocabulary
    is_seen: tuple[bool | None, ...]  # per class: in the training vocabulary; None: not known

    def to_json(self) -> dict[str, Any]:
        """The record in the run folder: all that the vocabulary's sha256 covers, and more."""
        return {
            "name": self.vocabulary.name,
            "sha256": self.vocabulary.fingerprint,
            "categories": [
                {
                    "id": c.category_id,
                    "name": c.name,
                    "isthing": c.is_thing,
                    "synonyms": list(c.synonyms),
                    "is_seen": is_seen,
                    **({"parent": c.parent} if c.parent else {}),
                }
                for c, is_seen in zip(self.vocabulary.classes, self.is_seen, strict=True)
            ],
        }

    def freeze(self, run: RunFolder) -> None:
        """Write it into the folder of a run, where it never changes afterwards.

        Raises:
            ConfigError: the folder has other classes.
        """
        data = json.dumps(self.to_json(), indent=2).encode()
        if not run.put_new(VOCABULARY_KEY, data) and run.read(VOCABULARY_KEY) != data:
            raise ConfigError(
                f"expected an empty run folder, but {run.location}/{VOCABULARY_KEY} holds other"
                " classes; delete its _plan folder or choose another --output"
            )


def read_categories(run: RunFolder) -> tuple[Category, ...] | None:
    """The classes with which the run was planned; None if it did not record them.

    Raises:
        ConfigError: they cannot be parsed.
    """
    if (frozen := read_frozen_vocabulary(run)) is None:
        return None
    return tuple(
        Category(id=c.category_id, name=c.name, is_thing=c.is_thing, is_seen=is_seen)
        for c, is_seen in zip(frozen.vocabulary.classes, frozen.is_seen, strict=True)
    )


def read_frozen_vocabulary(run: RunFolder) -> FrozenVocabulary | None:
    """The vocabulary with which the run was planned; None if it did not record it.

    Raises:
        ConfigError: it cannot be parsed.
    """
    try:
        content = run.read_json(VOCABULARY_KEY)
        if content is None:
            return None
        records = content["categories"]
        classes = tuple(
            VocabularyClass(
                category_id=int(record["id"]),
                name=str(record["name"]),
                is_thing=bool(record["isthing"]),
                synonyms=tuple(record.get("synonyms", ())),
                parent=record.get("parent"),
            )
            for record in records
        )
        return FrozenVocabulary(
            vocabulary=Vocabulary(name=str(content["name"]), classes=classes),
            is_seen=tuple(record["is_seen"] for record in records),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"expected the classes of the run in {run.location}/{VOCABULARY_KEY}, but they lack"
            f" something ({type(error).__name__}: {error}); restore it from a copy"
        ) from error
