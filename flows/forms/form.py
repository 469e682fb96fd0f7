"""What every form has in common: its order, the settings in it, and the bounds of its fields.

A form is a frozen dataclass whose fields are annotated with `FormField`. Prefect builds it before
the flow begins and would report the first mistake alone, so building one checks types only:
`problems` of each flow checks the rest, and names every mistake.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict

from flows.forms.form_field import FormField
from possam_core.settings import OutOfBoundsError, annotations_of


def form_fields(form: type) -> Mapping[str, FormField]:
    """The fields of a form by name."""
    return annotations_of(form, FormField)


def settings_in(form: object, owner: type) -> dict[str, Any]:
    """The settings of `owner` that are given in a form, by their name in `owner`."""
    cls: type = type(form)
    return {
        field.name: value
        for name, field in form_fields(cls).items()
        if field.owner is owner
        and ((value := getattr(form, name)) != field.not_given or field.not_given is None)
    }


def _number_fields(schema: dict[str, Any]) -> None:
    """Number the fields in the order of their class; without, Prefect's order is alphabetical."""
    for position, field in enumerate(schema["properties"].values()):
        field["position"] = position


FORM: ConfigDict = {"extra": "forbid", "json_schema_extra": _number_fields}  # of every form


def out_of_bounds(form: object) -> list[str]:
    """A sentence for each field of a form that is out of its bounds."""
    found = []
    cls: type = type(form)
    for name, field in form_fields(cls).items():
        try:
            field.check(getattr(form, name))
        except OutOfBoundsError as error:
            found.append(f"{name} {error}")
    return found
