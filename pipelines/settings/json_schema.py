"""The JSON schema of a job's settings, for editors and forms."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from pydantic import TypeAdapter

from possam_core.settings import prose_of, settings_of, types_of

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema(cls: type) -> dict[str, Any]:
    """The JSON schema of a YAML file with the settings in `cls`.

    Of the settings without a default only groups are required: all others may come by flag.
    """
    schema = TypeAdapter(cls).json_schema()
    for found, described in _classes(cls).items():
        part = schema if found is cls else schema["$defs"][found.__name__]
        part.pop("title", None)  # the name of a class of Python
        if "description" in part:
            part["description"] = prose_of(part["description"])
        for name, setting in described.items():
            part["properties"][name]["title"] = setting
    if required := [
        name for name in schema.get("required", ()) if is_dataclass(types_of(cls)[name])
    ]:
        schema["required"] = required
    else:
        schema.pop("required", None)
    return {"$schema": SCHEMA_DIALECT, **schema}


def _classes(cls: type) -> Mapping[type, Mapping[str, str]]:
    """`cls` and the classes of its groups, each with the titles of its settings by name."""
    found: dict[type, Mapping[str, str]] = {
        cls: {name: setting.title_of(name) for name, setting in settings_of(cls).items()}
    }
    for hint in types_of(cls).values():
        if is_dataclass(hint) and isinstance(hint, type):
            found |= _classes(hint)
    return found
