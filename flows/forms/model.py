"""Presets, and the fields of a form that choose a model and its classes.

Nothing here needs torch or Ray, so that a wrong form fails at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Literal

from flows.forms.checks import mistakes_in
from possam_core.checkpoints.models import require_model
from possam_core.checkpoints.transformers_folder import is_transformers_folder
from possam_core.errors import ConfigError, PossamError
from possam_core.vocabulary.builtin import find_vocabulary
from possam_core.vocabulary.vocabulary import Vocabulary

TINY = "possam-tiny"
AS_PRESET = -1.0  # GPUs of a worker: as the preset, for 0 means none


class Preset(StrEnum):
    """A model, and settings that suit it."""

    TINY_DEMO = "tiny demo"
    SAM_B = "SAM-B"
    SAM_H = "SAM-H"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetSettings:
    """The settings of a preset; fields that are filled in win over them."""

    model: str | None  # None: possam ships no head of that size, so the form must name one
    precision: Literal["float32", "bfloat16"]
    shard_size: int
    gpus_per_worker: float


PRESETS: Mapping[Preset, PresetSettings] = {
    # Small shards, so that a small corpus shows progress.
    Preset.TINY_DEMO: PresetSettings(
        model=TINY, precision="float32", shard_size=64, gpus_per_worker=0
    ),
    Preset.SAM_B: PresetSettings(
        model=None, precision="bfloat16", shard_size=1024, gpus_per_worker=1
    ),
    Preset.SAM_H: PresetSettings(
        model=None, precision="bfloat16", shard_size=1024, gpus_per_worker=1
    ),
}


class VocabularyChoice(StrEnum):
    """Where the classes come from."""

    MODELS_OWN = "the model's own"
    OWN_FILE = "own file"
    ADE20K_150 = "ade20k-150"
    ADE20K_847 = "ade20k-847"
    CITYSCAPES = "cityscapes"
    COCO_PANOPTIC = "coco-panoptic"
    FC_CLIP_ADE20K_150 = "fc-clip-ade20k-150"
    FC_CLIP_COCO = "fc-clip-coco"
    LVIS = "lvis"
    PASCAL_CONTEXT_459 = "pascal-context-459"
    PASCAL_CONTEXT_59 = "pascal-context-59"
    PLAYGROUND = "playground"
    WORKSHOP = "workshop"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFields:
    """The fields of a form that choose a model and its classes."""

    preset: Preset
    checkpoint: str  # this and the other two texts: empty is "not given"
    vocabulary: VocabularyChoice
    vocabulary_file: str
    classes: str  # of the vocabulary, with commas; not given: all

    @property
    def model(self) -> str:
        """The model's name for `LabelConfig`.

        Raises:
            ConfigError: the preset has no model of its own, and none is named.
        """
        name = self.checkpoint or PRESETS[self.preset].model
        if name is None:
            raise ConfigError(
                f"checkpoint must name a head for {self.preset.value}, because possam ships none;"
                " train one, or choose the preset 'tiny demo'"
            )
        return _absolute(name)

    @property
    def vocabulary_source(self) -> str | None:
        """The vocabulary's name for `LabelConfig`, with the chosen classes.

        Raises:
            ConfigError: the fields contradict each other.
        """
        is_own = self.vocabulary is VocabularyChoice.OWN_FILE
        if is_own != bool(self.vocabulary_file):
            raise ConfigError(
                "vocabulary_file must name a YAML file when vocabulary is 'own file', got none"
                if is_own
                else "vocabulary must be 'own file' when vocabulary_file is given, got"
                f" {self.vocabulary.value!r}; choose one of the two"
            )
        names = self.class_names
        if self.vocabulary is VocabularyChoice.MODELS_OWN:
            if names:
                raise ConfigError(
                    "classes must be chosen from a vocabulary with a name, got the model's own;"
                    " choose a vocabulary, such as playground"
                )
            return None
        source = _absolute(self.vocabulary_file) if self.vocabulary_file else self.vocabulary.value
        return f"{source}:{','.join(names)}" if names else source

    @property
    def class_names(self) -> list[str]:
        """The chosen classes; none: all."""
        return [name.strip() for name in self.classes.split(",") if name.strip()]

    def problems(self) -> list[str]:
        """Every mistake in these fields."""
        found = mistakes_in(lambda: require_model(self.model), lambda: self.vocabulary_source)
        try:
            vocabulary = self._whole_vocabulary()
        except PossamError as error:
            return [*found, str(error)]
        if vocabulary is not None:
            checks = [partial(vocabulary.class_index, name) for name in self.class_names]
            found += [f"classes: {mistake}" for mistake in mistakes_in(*checks)]
        return found

    def _whole_vocabulary(self) -> Vocabulary | None:
        """The vocabulary that `classes` are chosen from; None if they cannot be."""
        if self.vocabulary is VocabularyChoice.OWN_FILE:
            return find_vocabulary(self.vocabulary_file) if self.vocabulary_file else None
        if self.vocabulary is VocabularyChoice.MODELS_OWN:
            return None
        return find_vocabulary(self.vocabulary.value)


def _absolute(name: str) -> str:
    """The absolute path if `name` is a file here, so that it is found from elsewhere."""
    is_path = Path(name).is_file() or is_transformers_folder(name)
    return str(Path(name).absolute()) if is_path else name
