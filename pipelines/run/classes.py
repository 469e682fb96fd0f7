"""The classes of a run, kept beside its plan: reading needs neither model nor vocabulary file."""

import json
from dataclasses import dataclass
from typing import Any

from pipelines.run.folder import VOCABULARY_KEY, RunFolder
from possam_core.errors import ConfigError
from possam_core.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One class of a run; its position among all is its class index."""

    id: int
    name: str
    is_thing: bool
    is_seen: bool | None  # the model's training knew it; None: the run does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenVocabulary:
    """The classes that a run is about to be planned with."""

    vocabulary: Vocabulary
    is_seen: tuple[bool, ...]  # per class: the model's training knew it

    def to_json(self) -> dict[str, Any]:
        """What the run folder keeps: all that the vocabulary's sha256 is made of, and more."""
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
        """Write it into the folder of a run, for good.

        Raises:
            ConfigError: the folder holds another one.
        """
        data = json.dumps(self.to_json(), indent=2).encode()
        if not run.put_new(VOCABULARY_KEY, data) and run.read(VOCABULARY_KEY) != data:
            raise ConfigError(
                f"expected an empty run folder, but {run.location}/{VOCABULARY_KEY} holds other"
                " classes; delete its _plan folder or choose another --output"
            )


def read_categories(run: RunFolder) -> tuple[Category, ...] | None:
    """The classes that the run was planned with; None where it has not kept them.

    Raises:
        ConfigError: they cannot be understood.
    """
    try:
        content = run.read_json(VOCABULARY_KEY)
        if content is None:
            return None
        return tuple(
            Category(
                id=int(record["id"]),
                name=str(record["name"]),
                is_thing=bool(record["isthing"]),
                is_seen=record["is_seen"],
            )
            for record in content["categories"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"expected the classes of the run in {run.location}/{VOCABULARY_KEY}, but they lack"
            f" something ({type(error).__name__}: {error}); restore it from a copy"
        ) from error
