"""Bounds of settings: what they refuse, in which words, and what pydantic sees of them."""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from possam_core.errors import ConfigError
from possam_core.settings import Setting, require_valid


@dataclass(frozen=True, kw_only=True)
class Oven:
    """A dataclass with one setting of each kind."""

    shelves: Annotated[int, Setting(help="trays at once", ge=1, le=12, advice="3 suit most")] = 3
    degrees: Annotated[float | None, Setting(help="of the air", gt=0, unset="off")] = None
    steam: Annotated[float, Setting(help="share of it", ge=0, lt=1, example=0.5)] = 0.0
    tilt: Annotated[float, Setting(help="of the door")] = 0.0
    patience: Annotated[float, Setting(help="in hours", ge=0, finite=False)] = 0.0
    is_on: Annotated[bool, Setting(help="whether it is", ge=1)] = False
    maker: Annotated[str | None, Setting(help="who made it", unset="nobody says")] = None
    nickname: Annotated[str, Setting(help="empty: none", allows_empty=True)] = ""
    doors: Annotated[
        tuple[str, ...],
        Setting(help="their sides", wanted_of=lambda side: "" if side in "lr" else "l or r"),
    ] = ()

    def __post_init__(self) -> None:
        both = "steam needs degrees, got none" if self.steam and self.degrees is None else ""
        require_valid(self, both, prefix="oven.")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shelves": "3"}, "oven.shelves must be a whole number, got '3'"),
        ({"shelves": 3.0}, "oven.shelves must be a whole number, got 3.0"),
        ({"shelves": True}, "oven.shelves must be a whole number, got True"),
        ({"degrees": "hot"}, "oven.degrees must be a number, got 'hot'"),
        ({"tilt": [1.0]}, r"oven.tilt must be a number, got \[1.0\]"),
        ({"is_on": 1}, "oven.is_on must be true or false, got 1"),
        ({"maker": 7}, "oven.maker must be text, got 7"),
    ],
)
def test_a_value_of_another_type_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{said}$"):
        Oven(**changes)


def test_whole_numbers_are_numbers_and_numpy_s_are_both() -> None:
    Oven(shelves=np.int64(3), degrees=200, steam=np.float32(0.5))


def test_values_at_the_bounds_are_accepted() -> None:
    Oven(shelves=1, degrees=1e-9, steam=0.0)
    Oven(shelves=12, patience=math.inf)
    Oven(maker="Anna", nickname="", doors=("l", "r"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shelves": 0}, "oven.shelves must be 1 to 12, got 0; 3 suit most"),
        ({"shelves": 13}, "oven.shelves must be 1 to 12, got 13; 3 suit most"),
        ({"degrees": 0.0}, "oven.degrees must be more than 0, got 0.0"),
        ({"degrees": math.inf}, "oven.degrees must be a finite number, more than 0, got inf"),
        ({"steam": 1.0, "degrees": 9.0}, "oven.steam must be in [0, 1), got 1.0"),
        ({"tilt": math.nan}, "oven.tilt must be a finite number, got nan"),
        ({"tilt": -math.inf}, "oven.tilt must be a finite number, got -inf"),
        ({"patience": math.nan}, "oven.patience must be a number, 0 or more, got nan"),
        ({"maker": ""}, "oven.maker must not be empty, got ''; leave it out (nobody says)"),
        ({"maker": " "}, "oven.maker must not be empty, got ' '; leave it out (nobody says)"),
        ({"maker": "a\0b"}, "oven.maker must hold no NUL character, got 'a\\x00b'; delete it"),
        ({"doors": ("l", "up")}, "oven.doors must be l or r, got 'up'"),
        ({"doors": ("l", "")}, "oven.doors must not be empty, got ''; fill it in"),
        (
            {"shelves": 0, "steam": 0.5},
            "oven.shelves must be 1 to 12, got 0; 3 suit most; steam needs degrees, got none",
        ),
    ],
)
def test_a_value_out_of_bounds_is_refused_in_a_sentence(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Oven(**settings)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_an_open_interval_of_whole_numbers_shows_its_open_ends() -> None:
    assert Setting(help="minutes", gt=0, lt=300).bounds == "in (0, 300)"
    assert Setting(help="minutes", gt=0, le=300).bounds == "in (0, 300]"
    assert Setting(help="minutes", ge=1, le=300).bounds == "1 to 300"


@pytest.mark.parametrize("number", [2**63, -(2**63), 10**400])
def test_a_whole_number_beyond_64_bits_is_refused_in_a_sentence(number: int) -> None:
    with pytest.raises(ConfigError, match=r"^must be a whole number of 64 bits, got a larger one"):
        Setting(help="images", ge=1).check(number)
    Setting(help="images", ge=1).check(2**63 - 1)


def test_pydantic_finds_every_value_out_of_bounds_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Oven).validate_python({"shelves": 0, "tilt": math.nan, "steam": 2})
    assert [mistake["loc"] for mistake in caught.value.errors()] == [
        ("shelves",),
        ("steam",),
        ("tilt",),
    ]


def test_the_json_schema_holds_help_bounds_and_example() -> None:
    fields = TypeAdapter(Oven).json_schema()["properties"]
    assert fields["shelves"] == {
        "default": 3,
        "description": "trays at once",
        "maximum": 12,
        "minimum": 1,
        "title": "Shelves",
        "type": "integer",
    }
    assert fields["degrees"]["anyOf"] == [
        {"exclusiveMinimum": 0, "type": "number"},
        {"type": "null"},
    ]
    assert fields["steam"]["examples"] == [0.5]
    assert fields["maker"]["anyOf"] == [{"minLength": 1, "type": "string"}, {"type": "null"}]
    assert "minLength" not in fields["nickname"]
    assert TypeAdapter(Annotated[int, Setting(help="images", ge=1)]).json_schema()["maximum"] == (
        2**63 - 1
    )
