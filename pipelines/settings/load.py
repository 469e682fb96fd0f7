"""Settings of a job: a YAML file and command-line flags -> one validated dataclass.

Every mistake is reported at once, with the place it came from and the nearest name that exists.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from possam_core.errors import ConfigError, PossamError, nearest, one_line
from possam_core.settings import OutOfBoundsError, prose_of

T = TypeVar("T")

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
PYDANTIC_PREFIX = "Input should be "
MAX_SHOWN_CHARS = 60  # of a wrong value
EXPONENT = re.compile(  # what YAML takes for text if it has no dot or no sign after the e
    r"(?P<digits>[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))[eE](?P<exponent>[-+]?[0-9]{1,4})"
)
MAX_ZEROS = 12  # of a number that is easier to read without an exponent
STRING_TAG, MERGE_TAG = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


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
        text = json.dumps(settings, default=_plain, ensure_ascii=False).encode()
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


def read_settings(file: Path) -> dict[str, object]:
    """The mapping that a YAML file holds.

    Raises:
        ConfigError: there is no such file, or it is not a mapping.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_StrictLoader)
        json.dumps(content, default=_plain)  # fails on a list that contains itself
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"expected a readable settings file at {file}, but it could not be read ({error});"
            " check the path"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = one_line(error)
        raise ConfigError(f"expected YAML in {file}, but it does not parse: {where}") from error
    if not isinstance(content, dict):
        got = "nothing" if content is None else f"a {type(content).__name__}"
        raise ConfigError(
            f"expected `name: value` lines in {file}, got {got};"
            " possam config schema prints the names"
        )
    return content


def config_schema(cls: type) -> dict[str, Any]:
    """The JSON schema of the settings in `cls`, for editors and forms."""
    schema = TypeAdapter(cls).json_schema()
    if "description" in schema:
        schema["description"] = prose_of(schema["description"])
    return {"$schema": SCHEMA_DIALECT, **schema}


class _StrictLoader(yaml.SafeLoader):
    """Refuses what YAML accepts without an error: a repeated name, and a name that is no string."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            if key.tag not in (STRING_TAG, MERGE_TAG):
                reason = (
                    f"expected the name of a setting, got {_shown(key.value)}; put it in quotes"
                )
            elif key.value in names:
                reason = f"expected {key.value} once, found it twice; delete one"
            else:
                names.add(key.value)
                continue
            raise yaml.constructor.ConstructorError(problem=reason, problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


def _plain(value: object) -> str:
    """Values that JSON lacks, as text: a date as midnight, so that it is valid as a time, too."""
    is_day = isinstance(value, date) and not isinstance(value, datetime)
    return f"{value}T00:00:00" if is_day else str(value)


def _sentence(cls: type, mistake: Mapping[str, Any], *, place: str) -> str:
    """One error of pydantic, as our own sentence."""
    loc = mistake["loc"]
    name = ".".join(map(str, loc)) or "the settings"
    cause = mistake.get("ctx", {}).get("error")
    if isinstance(cause, OutOfBoundsError):
        return f"{name}{place} {cause}"
    if isinstance(cause, PossamError):
        return str(cause)
    if mistake["type"] == "missing":
        return f"expected {name}{place}, got none; it has no default"
    if mistake["type"] == "unexpected_keyword_argument":
        return f"expected the name of a setting{place}, got {name}; {_advice(cls, loc)}"
    expected = mistake["msg"].removeprefix(PYDANTIC_PREFIX)
    advice = _number_advice(mistake["type"], mistake["input"])
    return f"expected {name}{place} to be {expected}, got {_shown(mistake['input'])}{advice}"


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
    """The name that is nearest to the last part of `loc`, or all names."""
    *parents, wrong = loc
    owner: Any = cls
    for parent in parents:
        owner = get_type_hints(owner).get(str(parent)) if is_dataclass(owner) else None
    known = [field.name for field in fields(owner)] if is_dataclass(owner) else []
    return nearest(str(wrong), known, otherwise=f"known are {', '.join(known)}")


def _place(loc: tuple[int | str, ...], given: Mapping[str, object], file: Path | None) -> str:
    if file is None or (loc and loc[0] in given):
        return " on the command line"
    return f" in {file}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."


def _together(mistakes: Iterable[str]) -> str:
    """One mistake unchanged, several numbered."""
    each = list(mistakes)
    if len(each) == 1:
        return each[0]
    return f"{len(each)} settings are wrong: " + " ".join(
        f"({number}) {mistake}" for number, mistake in enumerate(each, start=1)
    )
