"""Describes settings, from their class: a Markdown table, and a YAML file to start from."""

import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from typing import Any, get_args, get_origin

import yaml

from possam_core.settings import Setting, choices_of, settings_of, types_of

HEAD = ("| setting | what it is | values | default |", "|---|---|---|---|")
KINDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
WIDTH = 100


def settings_table(cls: type) -> str:
    """One row for each setting of `cls`; settings of a group are named `group.setting`."""
    return "\n".join((*HEAD, *_rows(cls, "")))


def example_yaml(cls: type, *, chosen: tuple[str, ...] = ()) -> str:
    """Settings of `cls` with a comment each.

    Required and `chosen` settings have the value of their example; all others are commented out,
    with their default, or with their example if the default is no value.
    """
    blocks = []
    for each in fields(cls):
        setting, hint = settings_of(cls)[each.name], types_of(cls)[each.name]
        is_needed = each.name in chosen or _is_needed(each)
        if _is_group(hint):
            lines = [f"{each.name}:"]
            for inner in fields(hint):
                what = settings_of(hint)[inner.name]
                lines += [*_comment(what, indent="  "), f"  {_line(inner, what, is_needed)}"]
        else:
            lines = [_line(each, setting, is_needed)]
        mark = "" if is_needed else "# "
        blocks.append("\n".join((*_comment(setting), *(f"{mark}{line}" for line in lines))))
    return "\n\n".join(blocks) + "\n"


def _rows(cls: type, prefix: str) -> Iterator[str]:
    for each in fields(cls):
        setting, hint = settings_of(cls)[each.name], types_of(cls)[each.name]
        name = f"{prefix}{each.name}"
        if _is_group(hint):
            left_out = "required" if _is_needed(each) else "as below"
            yield f"| **`{name}`** | {_cell(setting.help)} | settings | {left_out} |"
            yield from _rows(hint, f"{name}.")
            continue
        values = ", ".join(filter(None, (_kind(hint), setting.bounds)))
        yield f"| `{name}` | {_cell(setting.help)} | {values} | {_left_out(each, setting)} |"


def _kind(hint: Any) -> str:
    """The allowed values, in words."""
    names = hint if isinstance(hint, type) and issubclass(hint, StrEnum) else choices_of(hint)
    if choices := [f"`{name}`" for name in names]:
        return ", ".join(choices)
    if get_origin(hint) is tuple:
        return f"a list, each {KINDS[get_args(hint)[0]]}"
    return KINDS[hint]


def _left_out(each: "Field[Any]", setting: Setting) -> str:
    if _is_needed(each):
        return "required"
    if each.default is None:
        return _cell(setting.unset)
    return "none" if each.default == () else f"`{_yaml(each.default)}`"


def _line(each: "Field[Any]", setting: Setting, shows_example: bool) -> str:
    default = None if _is_needed(each) or each.default == () else each.default
    example = [setting.example] if each.default == () else setting.example
    prefer, other = (example, default) if shows_example else (default, example)
    return f"{each.name}: {_yaml(other if prefer is None else prefer)}"


def _comment(setting: Setting, *, indent: str = "") -> list[str]:
    bounds = f" ({setting.bounds})" if setting.bounds else ""
    unset = f" Left out: {setting.unset}." if setting.unset else ""
    text = f"{setting.help[0].upper()}{setting.help[1:]}{bounds}.{unset}"
    mark = f"{indent}# "
    return textwrap.wrap(text, WIDTH, initial_indent=mark, subsequent_indent=mark)


def _is_group(hint: Any) -> bool:
    return is_dataclass(hint)


def _is_needed(each: "Field[Any]") -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _yaml(value: object) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=WIDTH)
    return text.removesuffix("...\n").strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
