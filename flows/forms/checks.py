"""What the forms of several flows share: presets, choices, and checks that name every mistake.

A form is a frozen dataclass of plain fields. Its own type checks nothing across fields, because
Prefect builds it before the flow begins: `problems` of each flow does, first thing. Nothing here
needs torch or Ray, so a wrong form fails at once.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field

from pipelines.corpus.source import require_corpus
from pipelines.settings.label import LabelConfig
from pipelines.storage.addresses import normalise_location
from possam_core.checkpoints.header import resolve_model
from possam_core.errors import ConfigError, PossamError
from possam_core.vocabulary.builtin import find_vocabulary
from possam_core.vocabulary.vocabulary import Vocabulary

TINY = "possam-tiny"
AS_PRESET = -1.0  # where 0 means something


class Preset(StrEnum):
    """A model, and settings that suit it."""

    TINY_DEMO = "tiny demo"
    SAM_B = "SAM-B"
    SAM_H = "SAM-H"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetSettings:
    """What a preset stands for; the form's own fields win over it."""

    model: str | None  # None: no head of that size ships, so the form names one
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
    LVIS = "lvis"
    PASCAL_CONTEXT_459 = "pascal-context-459"
    PASCAL_CONTEXT_59 = "pascal-context-59"
    PLAYGROUND = "playground"
    WORKSHOP = "workshop"


def shown(title: str, help: str, *, examples: Iterable[object] = ()) -> Any:
    """How a field appears in the form: its title, a line of help, examples."""
    return Field(
        examples=list(examples) or None,
        # Here, because the schema of a choice keeps nothing else.
        json_schema_extra={"title": title, "description": help},
    )


def _in_order(schema: dict[str, Any]) -> None:
    """Tell Prefect the order of a form's fields, which is that of its class."""
    for position, field in enumerate(schema["properties"].values()):
        field["position"] = position


FORM: ConfigDict = {"extra": "forbid", "json_schema_extra": _in_order}  # of every form


def together(problems: Iterable[str]) -> str:
    """All mistakes of a form as one message."""
    each = [" ".join(problem.split()) for problem in problems]
    if len(each) == 1:
        return f"the form has a mistake: {each[0]}"
    numbered = (f"({number}) {problem}" for number, problem in enumerate(each, start=1))
    return f"the form has {len(each)} mistakes: {' '.join(numbered)}"


def mistakes_in(*checks: Callable[[], object]) -> list[str]:
    """What the checks complain of, each by raising a `PossamError`."""
    found = []
    for check in checks:
        try:
            check()
        except PossamError as error:
            found.append(str(error))
    return found


def location_problems(images: str, output: str) -> list[str]:
    """What is wrong with the place of the corpus, and with that of the run."""
    found = [
        f"{name}: {mistake}"
        for name, value in (("images", images), ("output", output))
        for mistake in mistakes_in(partial(normalise_location, value))
    ]
    if found:
        return found
    return mistakes_in(
        lambda: require_corpus(normalise_location(images)),
        lambda: LabelConfig(images=images, output=output),
    )


def ray_address_problems(address: str) -> list[str]:
    """What is wrong with the address of a Jobs API."""
    if not address:
        return []
    try:
        parts = urlsplit(address)
        is_sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        return ["ray_address must be http(s)://host:port, got a port that is no number"]
    if parts.username or parts.password or parts.query:
        return [
            "ray_address must hold no login or token, for everybody can read it here; set"
            " RAY_AUTH_TOKEN where the flow runs"
        ]
    if not is_sound or parts.path.strip("/"):
        return [f"ray_address must be http(s)://host:port of Ray's dashboard, got {address!r}"]
    return []


def time_problems(name: str, time: str) -> list[str]:
    """What is wrong with a date or time."""
    try:
        datetime.fromisoformat(time or "2026-01-31")
    except ValueError:
        return [f"{name} must be a date or time such as 2026-01-31T12:00, got {time!r}"]
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFields:
    """The fields of a form that choose a model and its classes."""

    preset: Preset
    checkpoint: str  # this and the other two: empty is "not given"
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
                f"checkpoint must name a head for {self.preset.value}, for none ships with possam;"
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
        found = mistakes_in(lambda: resolve_model(self.model), lambda: self.vocabulary_source)
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
    return str(Path(name).absolute()) if Path(name).is_file() else name
