"""A teacher of the user's own, named as `module:function`."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import extract_tb

import numpy as np

from possam_core.errors import PossamError, TeacherError, one_line
from possam_core.teachers.teacher import Teacher
from possam_core.vocabulary.vocabulary import Vocabulary

TRIAL_HW = (48, 64)


def load_own_teacher(model: str, vocabulary: Vocabulary | None, *, device: str) -> Teacher:
    """The teacher that `function(vocabulary, device)` of the module returns.

    Raises:
        TeacherError: there is no such function, it fails, or it returns something else.
    """
    module, _, function = model.partition(":")
    if vocabulary is None:
        raise TeacherError(
            f"expected a vocabulary for the model {model}, which brings none; name one with"
            " --vocabulary"
        )
    try:
        load = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise TeacherError(
            f"expected the function {function} in a module {module} that can be imported, but"
            f" {one_line(error)}; install the module, or add its folder to PYTHONPATH"
        ) from error
    with _failure_named(model, "load"):
        teacher = load(vocabulary, device)
    if not isinstance(teacher, Teacher):
        raise TeacherError(
            f"expected {model} to return a possam_core.Teacher, got {type(teacher).__name__};"
            " derive its class from Teacher"
        )
    return teacher


def try_teacher(teacher: Teacher) -> None:
    """Label one image of noise, so that a teacher that cannot label fails before any corpus.

    Raises:
        TeacherError: it fails, or its output cannot be merged.
    """
    noise = np.random.default_rng(0).integers(0, 256, (*TRIAL_HW, 3), dtype=np.uint8)
    with _failure_named(teacher.card.name, "label an image of noise"):
        teacher([noise])


@contextmanager
def _failure_named(model: str, what: str) -> Iterator[None]:
    """Turn what the user's own code raises into one sentence with its place.

    Raises:
        TeacherError: it raised something.
    """
    try:
        yield
    except PossamError:
        raise
    except Exception as error:  # of any kind: the code is not ours
        place = extract_tb(error.__traceback__)[-1]
        raise TeacherError(
            f"expected the model {model} to {what}, but it raised {type(error).__name__}:"
            f" {one_line(error)} ({place.filename}, line {place.lineno}); mend it"
        ) from error
