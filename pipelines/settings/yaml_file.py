"""Reads a YAML file of settings, and shows values as YAML writes them."""

import json
from pathlib import Path
from typing import Any

import yaml

from possam_core.errors import ConfigError, one_line

MAX_SHOWN_CHARS = 60  # of a value
TAG = "tag:yaml.org,2002:"
# What settings are made of. A time stays the text that it is, and `wanted_of` judges it.
KINDS = ("str", "null", "bool", "int", "float", "seq", "map", "merge")


def read_settings(file: Path) -> dict[str, object]:
    """The mapping that a YAML file holds.

    Raises:
        ConfigError: there is no such file, or it is not a mapping.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_StrictLoader)
        json.dumps(content)  # fails on a list that contains itself
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"expected a readable settings file at {file}, but it could not be read ({error});"
            " check the path"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = one_line(error)
        raise ConfigError(f"expected YAML in {file}, but it does not parse: {where}") from error
    if not isinstance(content, dict):
        got = {type(None): "nothing", list: "a list"}.get(type(content), shown(content))
        raise ConfigError(
            f"expected `name: value` lines in {file}, got {got};"
            " possam config schema prints the names"
        )
    return content


def shown(value: object) -> str:
    """A value as YAML writes it, on one line and cut; a text in quotes.

    >>> shown([True, None, "a"])
    '[true, null, a]'
    """
    if isinstance(value, str):
        text = repr(value)
    else:
        text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=2**31)
        text = text.removesuffix("...\n").strip()
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."


class _StrictLoader(yaml.SafeLoader):
    """Refuses what YAML accepts without an error: a repeated name, and a name that is no string."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as in PyYAML
        start: [(tag, pattern) for tag, pattern in rules if tag.removeprefix(TAG) in KINDS]
        for start, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        kind = node.tag.removeprefix(TAG)
        if kind not in KINDS:
            reason = f"expected text, a number, true, false, null or a list, got !!{kind}"
            raise yaml.constructor.ConstructorError(problem=reason, problem_mark=node.start_mark)
        return super().construct_object(node, deep)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            if key.tag not in (f"{TAG}str", f"{TAG}merge"):
                reason = f"expected the name of a setting, got {shown(key.value)}; put it in quotes"
            elif key.value in names:
                reason = f"expected {key.value} once, found it twice; delete one"
            else:
                names.add(key.value)
                continue
            raise yaml.constructor.ConstructorError(problem=reason, problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)
