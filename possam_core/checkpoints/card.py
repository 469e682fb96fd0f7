"""What is known of a model besides its weights: the provenance of every label that it gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from possam_core.errors import VocabularyError, nearest
from possam_core.labels.calibration_set import CalibrationSet
from possam_core.vocabulary.published_names import match_classes
from possam_core.vocabulary.vocabulary import Vocabulary

NUM_SHOWN = 10  # classes of a model in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherCard:
    """The identity of a model that labels.

    Example:
        >>> from possam_core import TeacherCard
        >>> TeacherCard(name="my-model", fingerprint="2f5c", licence="MIT").training_names is None
        True
    """

    name: str  # for people: "possam-tiny", "fc-clip"
    fingerprint: str  # another one whenever labels may differ; as a rule a sha256 of the files
    revision: str | None = None  # of the published weights, or of the code around them
    licence: str | None = None  # of the weights; None: not known
    files: Mapping[str, str] = field(default_factory=dict)  # file name -> sha256
    # Names and synonyms of the classes that it was trained on; None: not known.
    training_names: tuple[str, ...] | None = None
    vocabulary: Vocabulary | None = None  # used where none is named; None: one must be named
    calibrated: CalibrationSet | None = None  # what its grades were measured with; None: nothing
    is_closed: bool = False  # it labels the classes of `vocabulary` and no others

    def is_seen(self, vocabulary: Vocabulary) -> tuple[bool | None, ...]:
        """Per class, whether the model was trained on one of its names; None: not known."""
        if self.training_names is None:
            return (None,) * len(vocabulary)
        return vocabulary.seen_in(self.training_names)

    def require_labelled(self, vocabulary: Vocabulary) -> None:
        """Return only if the model can label `vocabulary`; one that is not closed labels any.

        Raises:
            VocabularyError: it cannot.
        """
        if self.is_closed:
            self.own_classes(vocabulary)

    def own_classes(self, vocabulary: Vocabulary) -> tuple[int, ...]:
        """Per class of `vocabulary`, the index of the same class in the model's own.

        Classes are the same if a name or synonym is, or the published name of it.

        Raises:
            VocabularyError: the two are not the same classes, each once.
        """
        own = self.vocabulary
        if own is None:
            raise VocabularyError(f"the closed model {self.name} must say which classes it labels")
        matched = match_classes([c.all_names for c in vocabulary.classes], own)
        indices = tuple(index for index in matched if index is not None)
        if len(indices) == len(vocabulary) == len(own):
            return indices
        raise VocabularyError(
            f"expected the {len(own)} classes that the model {self.name} labels"
            f" ({_shown([c.name for c in own.classes])}), but the vocabulary {vocabulary.name!r}"
            f" {_difference(vocabulary, own, matched)}; leave the vocabulary out to label them"
        )


def _difference(vocabulary: Vocabulary, own: Vocabulary, matched: tuple[int | None, ...]) -> str:
    foreign = [c.name for c, i in zip(vocabulary.classes, matched, strict=True) if i is None]
    if not foreign:
        lacking = [c.name for i, c in enumerate(own.classes) if i not in matched]
        return f"lacks {_shown(lacking)}"
    known = [name for entry in own.classes for name in entry.all_names]
    hint = nearest(foreign[0], known, otherwise="")
    return f"has {_shown(foreign)}" + (f" ({foreign[0]!r}: {hint})" if hint else "")


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - NUM_SHOWN} more" if len(names) > NUM_SHOWN else ""
    return ", ".join(names[:NUM_SHOWN]) + more
