"""A field of a form beside its setting."""

from dataclasses import dataclass
from math import nan
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter

from flows.forms.form import FORM, out_of_bounds, settings_in
from flows.forms.form_field import field_of, form_field
from flows.label_corpus import label_corpus
from possam_core.settings import Setting


@dataclass(frozen=True, kw_only=True)
class Oven:
    """The settings of a job."""

    steam: Annotated[float, Setting(help="share of it", gt=0, lt=1, example=0.5)] = 0.5
    shelves: Annotated[int | None, Setting(help="trays at once", ge=1, unset="all")] = None
    names: Annotated[tuple[str, ...], Setting(help="of the trays", example="top")] = ()


@dataclass(frozen=True, kw_only=True)
class BakeForm:
    """The form that asks for them, and for the time besides."""

    __pydantic_config__ = FORM

    minutes: Annotated[int, form_field("Time", "in minutes", ge=5, advice="20 suit most")] = 20
    wet: Annotated[float, field_of(Oven, "steam", title="Wet")] = 0.5
    shelves: Annotated[int, field_of(Oven, "shelves", not_given=0)] = 0
    names: Annotated[tuple[str, ...], field_of(Oven, "names")] = ()


def test_the_schema_has_what_the_setting_says_and_the_order_of_the_form() -> None:
    schema: dict[str, Any] = TypeAdapter(BakeForm).json_schema()
    assert schema["properties"] == {
        "minutes": {
            "type": "integer",
            "title": "Time",
            "description": "In minutes",
            "default": 20,
            "minimum": 5,
            "position": 0,
        },
        "wet": {
            "type": "number",
            "title": "Wet",
            "description": "Share of it",
            "default": 0.5,
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "examples": [0.5],
            "position": 1,
        },
        "shelves": {
            "type": "integer",
            "title": "Shelves",
            "description": "Trays at once; 0: all",
            "default": 0,
            "minimum": 0,
            "position": 2,
        },
        "names": {
            "type": "array",
            "items": {"type": "string"},
            "title": "Names",
            "description": "Of the trays",
            "default": [],
            "examples": [["top"]],
            "position": 3,
        },
    }


def test_a_value_that_stands_for_not_given_is_in_bounds_and_no_setting() -> None:
    assert out_of_bounds(BakeForm()) == []
    assert settings_in(BakeForm(), Oven) == {"steam": 0.5, "names": ()}
    assert settings_in(BakeForm(shelves=2, wet=0.0), Oven) == {
        "steam": 0.0,  # not left out: no value means "not given" here
        "shelves": 2,
        "names": (),
    }


def test_every_field_out_of_bounds_is_named_as_the_form_calls_it() -> None:
    assert out_of_bounds(BakeForm(minutes=1, wet=nan, shelves=-1)) == [
        "minutes must be at least 5, got 1; 20 suit most",
        "wet must be a finite number, in (0, 1), got nan",
        "shelves must be at least 1, got -1",
    ]


def test_building_a_form_checks_types_alone_so_that_the_flow_can_name_every_mistake() -> None:
    wrong = {"images": "/no/where", "output": "/run", "error_budget": 50, "limit": -1}
    form = label_corpus.validate_parameters({"form": wrong})["form"]
    assert (form.error_budget, form.limit) == (50, -1)
    with pytest.raises(Exception, match="error_budget"):
        label_corpus.validate_parameters({"form": wrong | {"error_budget": "much"}})
