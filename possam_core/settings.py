"""What a setting is: its bounds, title, help and example, written once beside its field.

    shard_size: Annotated[int, Setting("images in one file", ge=1, le=100_000)] = 1024

`require_valid` checks the bounds wherever the dataclass is built. Pydantic, which reads settings
from YAML, flags and forms, finds the same bounds by the two hooks below; the core does not need it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, get_type_hints

from possam_core.errors import ConfigError


class OutOfBoundsError(ConfigError):
    """A value that its setting does not allow; the message begins after the setting's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting for people: what it is, and which values make sense."""

    help: str
    title: str = ""  # in forms; empty: made from the field's name
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    finite: bool = True  # refuse infinities; NaN is always refused
    advice: str = ""  # what to do about a value out of bounds
    example: object = None
    unset: str = ""  # what None stands for, where the field allows it
    flag: str = ""  # of the command; empty: made from the field's name

    def check(self, value: object) -> None:
        """Return only if `value` is None, no number, or within the bounds.

        Raises:
            OutOfBoundsError: it is not; the message lacks the name of the setting.
        """
        if isinstance(value, bool) or not isinstance(value, int | float) or self._holds(value):
            return
        remedy = f"; {self.advice}" if self.advice else ""
        raise OutOfBoundsError(f"must be {self.bounds or 'a finite number'}, got {value}{remedy}")

    @property
    def bounds(self) -> str:
        """The bounds in words or as an interval; empty: there are none."""
        low = self.ge if self.ge is not None else self.gt
        high = self.le if self.le is not None else self.lt
        if low is not None and high is not None:
            if isinstance(low, int) and isinstance(high, int) and high > 1:
                return f"{low} to {high}"
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
        bounds = {
            "minimum": self.ge,
            "exclusiveMinimum": self.gt,
            "maximum": self.le,
            "exclusiveMaximum": self.lt,
        }
        given = {name: bound for name, bound in bounds.items() if bound is not None}
        schema = handler(core_schema)
        # Of a number that may be left out, the bounds belong to the number.
        numbers = [s for s in schema.get("anyOf", ()) if s.get("type") in ("integer", "number")]
        for bounded in numbers or [schema]:
            bounded |= given
        schema["description"] = self.help
        if self.title:
            schema["title"] = self.title
        if self.example is not None:
            schema["examples"] = [self.example]
        return schema


@cache
def settings_of(cls: type) -> Mapping[str, Setting]:
    """The settings of a dataclass by the name of their field; fields without one are left out."""
    hints = get_type_hints(cls, include_extras=True)
    found: dict[str, Setting] = {}
    for field in fields(cls):
        for metadata in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(metadata, Setting):
                found[field.name] = metadata
    return found


def mistakes_in_bounds(config: object, *, prefix: str = "") -> list[str]:
    """A sentence for each setting of a dataclass that is out of its bounds.

    Args:
        config: an instance whose fields may be annotated with `Setting`.
        prefix: of the names in the sentences, such as `mase.`.
    """
    found = []
    cls: type = type(config)
    for name, setting in settings_of(cls).items():
        try:
            setting.check(getattr(config, name))
        except OutOfBoundsError as error:
            found.append(f"{prefix}{name} {error}")
    return found


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
