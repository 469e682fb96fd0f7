"""A teacher of the user's own, named as `module:function`."""

import importlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from possam_core.checkpoints.card import TeacherCard
from possam_core.errors import PossamError, TeacherError, one_line
from possam_core.labels.calibration import CalibrationConfig
from possam_core.labels.merge_config import MergeConfig
from possam_core.teachers.teacher import Teacher
from possam_core.vocabulary.vocabulary import Vocabulary

TRIAL_HW = (48, 64)


def load_own_teacher(model: str, vocabulary: Vocabulary | None, *, device: str) -> Teacher:
    """The teacher that `function(vocabulary, device)` of the module returns; it was tried.

    Raises:
        TeacherError: there is no such function, it returns something else, or its teacher cannot
            label.
    """
    if vocabulary is None:
        raise TeacherError(
            f"expected a vocabulary for the model {model}, which brings none; name one with"
            " --vocabulary"
        )
    load = _find_function(model)
    with _mistakes_named(f"{model} to return a teacher"):
        teacher = load(vocabulary, device)
    if not isinstance(teacher, Teacher):
        raise TeacherError(
            f"expected {model} to return a possam_core.Teacher, got {type(teacher).__name__};"
            " derive its class from Teacher"
        )
    _require_described(model, teacher, vocabulary)
    try_teacher(teacher)
    return teacher


def try_teacher(teacher: Teacher) -> None:
    """Label one image of noise, so that a teacher that cannot label fails before any corpus.

    Raises:
        TeacherError: it fails, or its output cannot be merged.
    """
    noise = np.random.default_rng(0).integers(0, 256, (*TRIAL_HW, 3), dtype=np.uint8)
    name = teacher.card.name
    with _mistakes_named(f"the model {name} to label one small image"):
        (labels,) = teacher([teacher.prepare(noise)])
    if labels.ids.shape != TRIAL_HW:
        height, width = labels.ids.shape
        raise TeacherError(
            f"expected labels of {TRIAL_HW[0]} x {TRIAL_HW[1]} pixels from the model {name}, got"
            f" {height} x {width}; mend its prepare()"
        )


def _find_function(model: str) -> Callable[[Vocabulary, str], object]:
    module, _, function = model.partition(":")
    try:
        load = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise TeacherError(
            f"expected the function {function} in a module {module} that can be imported, but"
            f" {one_line(error)}; install the module, or add its folder to PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:  # the user's code runs, which may raise anything
        raise _raised(f"a module {module} that can be imported", error) from error
    if not callable(load):
        raise TeacherError(
            f"expected a function {function} in the module {module}, got {type(load).__name__};"
            " name a function of vocabulary and device that returns a teacher"
        )
    found: Callable[[Vocabulary, str], object] = load
    return found


@contextmanager
def _mistakes_named(expected: str) -> Iterator[None]:
    """What the user's code raises becomes one sentence with its place."""
    try:
        yield
    except PossamError:
        raise
    except (Exception, SystemExit) as error:  # the user's code runs, which may raise anything
        raise _raised(expected, error) from error


def _raised(expected: str, error: BaseException) -> TeacherError:
    place = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, SyntaxError):
        place = traceback.FrameSummary(error.filename or "?", error.lineno, "")
    what = f"{type(error).__name__}: {one_line(error)}"
    return TeacherError(
        f"expected {expected}, but it raised {what} ({place.filename}, line {place.lineno}); mend"
        " the code"
    )


def _require_described(model: str, teacher: Teacher, vocabulary: Vocabulary) -> None:
    """What a teacher says of itself goes into every run and export, so it must be what it seems."""
    for name, kind in (
        ("card", TeacherCard),
        ("vocabulary", Vocabulary),
        ("merging", MergeConfig),
        ("calibration", CalibrationConfig),
        ("how", str),
    ):
        found = getattr(teacher, name, None)
        if not isinstance(found, kind):
            raise _undescribed(model, f"a {kind.__name__} as {name}", found)
    for name, value in _wrong_facts(teacher.card):
        raise _undescribed(model, name, value)
    if teacher.vocabulary.fingerprint != vocabulary.fingerprint:
        raise TeacherError(
            f"expected the teacher of {model} to have the vocabulary that {model} was given,"
            f" {vocabulary.name!r}, got another, {teacher.vocabulary.name!r}; keep the one given"
        )


def _wrong_facts(card: TeacherCard) -> Iterator[tuple[str, Any]]:
    """Each fact of a card that is of another kind than promised, with what was expected."""
    for name in ("name", "fingerprint"):
        if not isinstance(value := getattr(card, name), str) or not value.strip():
            yield f"text as card.{name}", value
    for name in ("revision", "licence"):
        if not isinstance(value := getattr(card, name), str | None):
            yield f"text or None as card.{name}", value
    files, names = card.files, card.training_names
    if not isinstance(files, Mapping) or not _are_text(*files.keys(), *files.values()):
        yield "a dict of file names with their sha256 as card.files", files
    if names is not None and (not isinstance(names, tuple | list) or not _are_text(*names)):
        yield "a tuple of names or None as card.training_names", names


def _are_text(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _undescribed(model: str, expected: str, found: object) -> TeacherError:
    return TeacherError(
        f"expected {expected} of the teacher of {model}, got {found!r:.80}; correct it"
    )
