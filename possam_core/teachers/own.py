"""A teacher of the user's own, named as `module:function`."""

import importlib

import numpy as np

from possam_core.errors import TeacherError, one_line
from possam_core.teachers.teacher import Teacher
from possam_core.vocabulary.vocabulary import Vocabulary

TRIAL_HW = (48, 64)


def load_own_teacher(model: str, vocabulary: Vocabulary | None, *, device: str) -> Teacher:
    """The teacher that `function(vocabulary, device)` of the module returns.

    Raises:
        TeacherError: there is no such function, or it returns something else.
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
        TeacherError: its output cannot be merged.
    """
    noise = np.random.default_rng(0).integers(0, 256, (*TRIAL_HW, 3), dtype=np.uint8)
    teacher([noise])
