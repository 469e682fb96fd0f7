"""What can go wrong, by whose fault it is.

Each message is one sentence that says what was expected, what came, and what to do. No class has
an `__init__` of its own, so every error crosses process borders by pickle.
"""

from collections.abc import Iterable


class PossamError(Exception):
    """A mistake that the caller can mend; the command prints its message and exits with 2."""


class ConfigError(PossamError, ValueError):
    """A setting is missing, misspelt or out of its range."""


class VocabularyError(PossamError, ValueError):
    """A vocabulary, or a class named in one, is not usable."""


class CheckpointError(PossamError):
    """A checkpoint is unknown, damaged, or does not fit the code or its own parts."""


class TeacherError(PossamError):
    """A model's masks or class probabilities cannot be merged into labels."""


class GroundTruthError(PossamError):
    """Annotations break the rules of the COCO panoptic format."""


def nearest(word: str, known: Iterable[str], *, otherwise: str) -> str:
    """A question that offers the `known` words most like `word`, or `otherwise`."""
    import difflib  # only after a mistake: every start of ours imports this module

    names = list(known)
    begin_so = [name for name in names if word and name.startswith(word)]
    near = difflib.get_close_matches(word, names, n=3) or begin_so[:3]
    return f"did you mean {' or '.join(map(repr, near))}?" if near else otherwise


def counted(number: int, noun: str) -> str:
    """A number of things, to put into a sentence.

    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks and repeated blanks, to put into a sentence.

    The name of its type if it has none.
    """
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of the message, which in most libraries names the cause; else as `one_line`.

    >>> first_line(OSError("the disk is full\\n  at line 1 of a long report"))
    'the disk is full'
    """
    return " ".join(str(error).strip().partition("\n")[0].split()) or type(error).__name__
