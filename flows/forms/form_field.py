"""One field of a form; most stand for a setting of a job and take title, help, bounds from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from possam_core.settings import Setting, settings_of

NotGiven = str | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One field of a form: what it asks for, and the value that stands for "not given".

    Such a value is needed because Prefect draws `X | None` as a choice between two types.
    """

    setting: Setting
    owner: type | None = None  # the class of settings that it belongs to; None: the form alone
    name: str = ""  # of the setting in that class
    title: str = ""  # in this form; empty: that of the setting
    help: str = ""  # likewise
    example: object = None  # likewise
    not_given: NotGiven = None  # None: every value of the field is one of the setting
    means: str = ""  # what that value stands for; empty: what None stands for in the setting

    def check(self, value: object) -> None:
        """Return only if the value is within the bounds of the setting, or stands for none.

        Raises:
            OutOfBoundsError: it is not; the message lacks the name of the field.
        """
        if self.not_given is None or value != self.not_given:
            self.setting.check(value)

    @property
    def description(self) -> str:
        """The line below the field."""
        help = self.help or self.setting.help
        sentence = help[:1].upper() + help[1:]
        if self.not_given is None:
            return sentence
        value = f"{self.not_given:g}" if isinstance(self.not_given, int | float) else "empty"
        return f"{sentence}; {value}: {self.means or self.setting.unset}"

    def __get_pydantic_json_schema__(
        self, core_schema: object, handler: Callable[[object], dict[str, Any]]
    ) -> dict[str, Any]:
        """Pydantic's hook for the schema that Prefect draws; no check is added to the field."""
        schema = handler(core_schema)
        title = self.title or self.setting.title_of(self.name)
        schema |= {"title": title, "description": self.description, **self._bounds()}
        example = self.setting.example if self.example is None else self.example
        if example is not None:  # of a list, one item
            schema["examples"] = [[example] if schema.get("type") == "array" else example]
        return schema

    def _bounds(self) -> dict[str, float]:
        """The bounds in JSON schema, widened by the value that stands for "not given"."""
        bounds = self.setting.json_bounds
        lows = [bounds.pop(name) for name in ("minimum", "exclusiveMinimum") if name in bounds]
        if not lows or not isinstance(self.not_given, int | float):
            return self.setting.json_bounds
        return {"minimum": min(*lows, self.not_given)} | bounds


def field_of(
    owner: type,
    name: str,
    *,
    title: str = "",
    help: str = "",
    example: object = None,
    not_given: NotGiven = None,
    means: str = "",
) -> FormField:
    """The field of a form that stands for one setting of `owner`.

    Args:
        owner: dataclass of a job's settings.
        name: of the setting.
        title: where the form calls it by another name.
        help: where this form asks for something more special.
        example: likewise.
        not_given: the value that stands for "not given".
        means: what that value stands for; empty: what None stands for in the setting.
    """
    return FormField(
        setting=settings_of(owner)[name],
        owner=owner,
        name=name,
        title=title,
        help=help,
        example=example,
        not_given=not_given,
        means=means,
    )


def form_field(
    title: str,
    help: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    advice: str = "",
    example: object = None,
) -> FormField:
    """A field that no class of settings has; arguments as for `Setting`."""
    return FormField(
        setting=Setting(
            title=title,
            help=help,
            ge=ge,
            gt=gt,
            le=le,
            advice=advice,
            example=example,
            allows_empty=True,  # each form says itself what an empty text means
        )
    )
