"""What is known of a model besides its weights: the provenance of every label that it gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from possam_core.labels.calibration_set import CalibrationSet
from possam_core.vocabulary.vocabulary import Vocabulary


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
