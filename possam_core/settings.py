"""What a setting is: its bounds, title, help and example, written once beside its field.

    shard_size: Annotated[int, Setting("images in one file", ge=1, le=100_000)] = 1024

`require_valid` checks the bounds wherever the dataclass is built. Pydantic, which reads settings
from YAML, flags and forms, finds the same bounds by the two hooks below; the core does not need it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from inspect import cleandoc
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from possam_core.errors import ConfigError

Kind = TypeVar("Kind")

# Of each plain type of a setting, what a value is to be, in Python and in words.
KINDS: Mapping[object, tuple[type, str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
}
LARGEST_INT = 2**63 - 1  # of Arrow and of torch


class OutOfBoundsError(ConfigError):
    """A value that its setting does not allow; the message begins after the setting's name."""


def _anything(_text: str) -> str:
    """Every text is as it should be."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting for people: what it is, and which values make sense."""

    help: str = field(kw_only=False)
    title: str = ""  # in forms; empty: made from the field's name
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    finite: bool = True  # refuse infinities; NaN is always refused
    advice: str = ""  # what to do about a value out of bounds
    example: object = None
    unset: str = ""  # what None means, where the field allows it
    flag: str = ""  # of the command; empty: made from the field's name
    allows_empty: bool = False  # of a text: empty means something
    wanted_of: Callable[[str], str] = _anything  # of a text: what it should be; empty: it is
    pattern: str = ""  # of a text, for the JSON schema; `wanted_of` decides

    def check(self, value: object) -> None:
        """Return only if every number and text that `value` is or holds is allowed.

        A text is empty only where that means something: what is not wanted is left out.

        Raises:
            OutOfBoundsError: one is not; the message lacks the name of the setting.
        """
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, str):
                self._check_text(each)
            elif isinstance(each, int | float) and not isinstance(each, bool):
                self._check_number(each)

    def _check_number(self, number: float) -> None:
        if isinstance(number, int) and abs(number) > LARGEST_INT:
            raise OutOfBoundsError("must be a whole number of 64 bits, got a larger one")
        if self._holds(number):
            return
        kind = "a finite number" if self.finite else "a number"
        wanted = self.bounds or kind
        if self.bounds and not math.isfinite(number):
            wanted = f"{kind}, {self.bounds}"
        raise OutOfBoundsError(f"must be {wanted}, got {number}{self._remedy}")

    def _check_text(self, text: str) -> None:
        if not text.strip():
            if self.allows_empty:
                return
            instead = f"leave it out ({self.unset})" if self.unset else "fill it in"
            raise OutOfBoundsError(f"must not be empty, got {text!r}; {instead}")
        if "\0" in text:
            raise OutOfBoundsError(f"must hold no NUL character, got {text!r}; delete it")
        if wanted := self.wanted_of(text):
            raise OutOfBoundsError(f"must be {wanted}, got {text!r}{self._remedy}")

    @property
    def _remedy(self) -> str:
        return f"; {self.advice}" if self.advice else ""

    @property
    def bounds(self) -> str:
        """The bounds in words or as an interval; empty: there are none."""
        low = self.ge if self.ge is not None else self.gt
        high = self.le if self.le is not None else self.lt
        if low is not None and high is not None:
            is_closed = self.gt is None and self.lt is None
            if is_closed and isinstance(low, int) and isinstance(high, int) and high > 1:
                return f"{low:,} to {high:,}"
            opening, closing = (
                "(" if self.gt is not None else "[",
                ")" if self.lt is not None else "]",
            )
            return f"in {opening}{low:g}, {high:g}{closing}"
        if low is not None:
            above = f"at least {low:g}" if low else "0 or more"
            return f"more than {low:g}" if self.gt is not None else above
        if high is not None:
            return f"less than {high:g}" if self.lt is not None else f"at most {high:g}"
        return ""

    def title_of(self, name: str) -> str:
        """The title in forms and editors of the field called `name`."""
        return self.title or name.replace("_", " ").capitalize()

    @property
    def json_bounds(self) -> dict[str, float]:
        """The bounds in the words of JSON schema."""
        bounds = {
            "minimum": self.ge,
            "exclusiveMinimum": self.gt,
            "maximum": self.le,
            "exclusiveMaximum": self.lt,
        }
        return {name: bound for name, bound in bounds.items() if bound is not None}

    def _json_limits(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """What JSON schema can say of this setting's checks, for one part of its schema."""
        kind = schema.get("type")
        if kind == "string" and "enum" not in schema:
            least = {} if self.allows_empty else {"minLength": 1}
            return least | ({"pattern": self.pattern} if self.pattern else {})
        if kind == "integer" and self.le is None and self.lt is None:
            return self.json_bounds | {"maximum": LARGEST_INT}
        return self.json_bounds if kind in ("integer", "number") else {}

    def _holds(self, value: float) -> bool:
        return not (
            math.isnan(value)
            or (self.finite and math.isinf(value))
            or (self.ge is not None and value < self.ge)
            or (self.gt is not None and value <= self.gt)
            or (self.le is not None and value > self.le)
            or (self.lt is not None and value >= self.lt)
        )

    def __get_pydantic_core_schema__(
        self, source: object, handler: Callable[[object], dict[str, Any]]
    ) -> dict[str, Any]:
        """Pydantic's hook: the field's own type, then our check."""

        def checked(value: object) -> object:
            self.check(value)
            return value

        function = {"type": "no-info", "function": checked}
        return {"type": "function-after", "function": function, "schema": handler(source)}

    def __get_pydantic_json_schema__(
        self, core_schema: object, handler: Callable[[object], dict[str, Any]]
    ) -> dict[str, Any]:
        """Pydantic's hook: title, description, bounds and example of the JSON schema."""
        schema = handler(core_schema)
        for part in (schema, schema.get("items", {}), *schema.get("anyOf", ())):
            part |= self._json_limits(part)
        schema["description"] = self.help
        if self.title:
            schema["title"] = self.title
        if self.example is not None:
            schema["examples"] = [self.example]
        return schema


@cache
def annotations_of(cls: type, kind: type[Kind]) -> Mapping[str, Kind]:
    """What the fields of a dataclass are annotated with of one kind, by the name of the field."""
    hints = get_type_hints(cls, include_extras=True)
    return {
        each.name: metadata
        for each in fields(cls)
        for metadata in getattr(hints[each.name], "__metadata__", ())
        if isinstance(metadata, kind)
    }


def settings_of(cls: type) -> Mapping[str, Setting]:
    """The settings of a dataclass by the name of their field; fields without one are left out."""
    return annotations_of(cls, Setting)


@cache
def types_of(cls: type) -> Mapping[str, Any]:
    """The types of a dataclass's fields; of one that may be None, the other type."""
    return {name: _without_none(hint) for name, hint in get_type_hints(cls).items()}


def choices_of(hint: object) -> tuple[object, ...]:
    """The values that a `Literal` allows; none for any other type."""
    return get_args(hint) if get_origin(hint) is Literal else ()


def prose_of(docstring: str) -> str:
    """A docstring without its example, to describe a class in a schema."""
    return cleandoc(docstring).partition("\n\nExample:")[0]


def mistakes_in_bounds(config: object, *, prefix: str = "") -> list[str]:
    """A sentence for each setting of another type, out of its bounds, or no choice of its.

    Args:
        config: an instance whose fields may be annotated with `Setting`.
        prefix: of the names in the sentences, such as `mase.`.
    """
    found = []
    cls: type = type(config)
    for name, setting in settings_of(cls).items():
        value, kind = getattr(config, name), types_of(cls)[name]
        choices = choices_of(kind)
        if value is not None and not _is_of(kind, value):
            found.append(f"{prefix}{name} must be {KINDS[kind][1]}, got {value!r:.80}")
            continue
        try:
            setting.check(value)
        except OutOfBoundsError as error:
            found.append(f"{prefix}{name} {error}")
        if choices and value is not None and value not in choices:
            known = " or ".join(map(str, choices))
            found.append(f"{prefix}{name} must be {known}, got {value!r}")
    return found


def _is_of(kind: object, value: object) -> bool:
    """Whether a value is of a plain type; any value is of the others, which are not asked here."""
    if kind not in KINDS or (kind is bool) != isinstance(value, bool):
        return kind not in KINDS
    return isinstance(value, KINDS[kind][0])


def require_valid(config: object, *others: str, prefix: str = "") -> None:
    """Return only if every setting is within its bounds and there are no `others`.

    Args:
        config: an instance whose fields may be annotated with `Setting`.
        others: sentences about mistakes that concern several settings at once; empty ones do not
            count.
        prefix: of the names in the sentences.

    Raises:
        ConfigError: something is wrong; the message names every mistake.
    """
    wrong = [*mistakes_in_bounds(config, prefix=prefix), *filter(None, others)]
    if wrong:
        raise ConfigError("; ".join(wrong))


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        others = [part for part in get_args(hint) if part is not NoneType]
        return others[0] if len(others) == 1 else hint
    return hint
