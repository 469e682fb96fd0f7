"""Settings of a job: a YAML file and command-line flags -> one validated dataclass.

Every mistake is reported at once, with the place it came from and the nearest name that exists.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipelines.settings.yaml_file import read_settings, shown
from possam_core.errors import ConfigError, PossamError, nearest
from possam_core.settings import OutOfBoundsError, types_of

T = TypeVar("T")

PYDANTIC_PREFIX = "Input should be "
EXPECTED = {  # by pydantic's name for the mistake, in the words of YAML
    "bool_type": "true or false",
    "dataclass_type": "a group of settings",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "string_type": "text",
    "tuple_type": "a list",
}
COMMAND_LINE = " on the command line"
FORMER_NAMES = {"use_gpu": "gpus_per_worker: 1 for a GPU, 0 for the CPU"}  # and how it is now
EXPONENT = re.compile(  # what YAML takes for text if it has no dot or no sign after the e
    r"(?P<digits>[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))[eE](?P<exponent>[-+]?[0-9]{1,4})"
)
MAX_ZEROS = 12  # of a number that is easier to read without an exponent


def load_config(cls: type[T], file: Path | None, flags: Mapping[str, object]) -> T:
    """The settings of `file`, overridden by `flags` that are not None.

    Args:
        cls: a dataclass whose own checks, if any, raise `ConfigError`.
        file: YAML; None: no file.
        flags: by the name of the setting; None: not given.

    Raises:
        ConfigError: the file cannot be read, or settings are wrong; the message has every mistake.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    settings = ({} if file is None else read_settings(file)) | given
    try:
        # Strictly, as JSON: a list may be a tuple, but `yes` is not 1, and "2" is not a number.
        text = json.dumps(_with_whole(settings), default=str, ensure_ascii=False).encode()
        return TypeAdapter(cls).validate_json(text, strict=True)
    except UnicodeEncodeError as error:
        wrong = error.object[error.start : error.end]
        raise ConfigError(
            f"expected settings in UTF-8, got {wrong!a} in one of them; rename that file or folder"
        ) from None
    except ValidationError as error:
        mistakes = [
            _sentence(cls, dict(mistake), place=_place(mistake["loc"], given, file))
            for mistake in error.errors(include_url=False)
        ]
        raise ConfigError(_together(mistakes)) from None


def _with_whole(value: Any) -> Any:
    """The same with whole numbers for 1.0 and the like, as on the command line."""
    if isinstance(value, dict):
        return {name: _with_whole(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_whole(each) for each in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if is_whole else value


def _sentence(cls: type, mistake: Mapping[str, Any], *, place: str) -> str:
    """One error of pydantic, as our own sentence."""
    loc = mistake["loc"]
    name = ".".join(map(str, loc)) or "the settings"
    cause = mistake.get("ctx", {}).get("error")
    if isinstance(cause, OutOfBoundsError):
        return f"{name}{place} {cause}"
    if isinstance(cause, PossamError):
        return _about_group(str(cause), name, place) if loc else str(cause)
    if mistake["type"] == "missing":
        return f"expected {name}{place}, got none; it has no default"
    if mistake["type"] == "unexpected_keyword_argument":
        return f"expected the name of a setting{place}, got {name}; {_advice(cls, loc)}"
    expected = EXPECTED.get(mistake["type"], mistake["msg"].removeprefix(PYDANTIC_PREFIX))
    advice = _number_advice(mistake["type"], mistake["input"])
    return f"expected {name}{place} to be {expected}, got {shown(mistake['input'])}{advice}"


def _about_group(sentence: str, group: str, place: str) -> str:
    """A sentence of the class of a group, with the name and the place of the group.

    Flags have no groups: what they name is in the sentence.
    """
    if place == COMMAND_LINE:
        return sentence
    if sentence.startswith(f"{group}."):
        return f"{place.strip()}: {sentence}"
    return f"{group}{place}: {sentence}"


def _number_advice(kind: str, value: object) -> str:
    """How to write a number such as 1e-1, which is text to YAML; empty: it is none."""
    parts = EXPONENT.fullmatch(value) if isinstance(value, str) else None
    if parts is None or kind not in ("float_type", "int_type"):
        return ""
    digits, exponent = parts["digits"], int(parts["exponent"])
    plain = f"{Decimal(digits).scaleb(exponent):f}" if abs(exponent) <= MAX_ZEROS else ""
    if kind == "int_type":
        return f"; write it as {plain}" if plain.lstrip("+-").isdigit() else ""
    dot = "" if "." in digits else ".0"
    spellings = filter(None, (plain, f"{digits}{dot}e{exponent:+d}"))
    return f"; write it as {' or '.join(spellings)}"


def _advice(cls: type, loc: tuple[int | str, ...]) -> str:
    """What to write instead of the last part of `loc`, which names no setting."""
    *parents, wrong = loc
    owner: Any = cls
    for parent in parents:
        owner = types_of(owner)[str(parent)]  # a group, for something else has no names
    known = [field.name for field in fields(owner)]
    group, _, inner = str(wrong).partition(".")
    if inner and group in known:
        return f"write {inner} on a line of its own below {group}:"
    if str(wrong) in FORMER_NAMES:
        return f"it is now {FORMER_NAMES[str(wrong)]}"
    return nearest(str(wrong), known, otherwise=f"known are {', '.join(known)}")


def _place(loc: tuple[int | str, ...], given: Mapping[str, object], file: Path | None) -> str:
    if file is None or (loc and loc[0] in given):
        return COMMAND_LINE
    return f" in {file}"


def _together(mistakes: Iterable[str]) -> str:
    """One mistake unchanged, several numbered."""
    each = list(mistakes)
    if len(each) == 1:
        return each[0]
    return f"{len(each)} settings are wrong: " + " ".join(
        f"({number}) {mistake}" for number, mistake in enumerate(each, start=1)
    )
