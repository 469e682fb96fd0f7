"""The flags of a command, made from the settings of its job.

    @app.command()
    @takes_settings(LabelConfig, without=("num_workers",))
    def plan(settings: LabelConfig) -> None: ...

gives `possam plan --images DIR --output RUN ...`: a flag for each setting, with its help, bounds
and default.
"""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer

from possam_core.errors import ConfigError
from possam_core.settings import OutOfBoundsError, Setting, choices_of, settings_of, types_of

CONFIG = "config"
KEYWORD = inspect.Parameter.KEYWORD_ONLY
Command = Callable[..., None]

ConfigOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML of settings; flags win over it")
]


def takes_settings(
    cls: type,
    *,
    arguments: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    config: Any = ConfigOption,
) -> Callable[[Command], Command]:
    """A decorator that fills the command's first parameter from flags and a YAML file.

    Args:
        cls: a dataclass of settings.
        arguments: settings given by position; all others are flags.
        without: settings that this command does not use; the YAML file may hold them.
        config: the argument or option that names the YAML file.
    """
    flags = [field for field in fields(cls) if field.name not in without]

    def decorate(command: Command) -> Command:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()

        def run(**given: Any) -> None:
            from pipelines.settings.load import load_config

            file = given.pop(CONFIG)
            named = {f.name: given.pop(f.name) for f in flags if f.name in given}
            command(load_config(cls, file, named), **given)

        parameters = [_parameter(cls, field, arguments) for field in flags]
        file = inspect.Parameter(CONFIG, KEYWORD, default=None, annotation=config)
        signature = [*(p for p in parameters if p is not None), file]
        signature += [parameter.replace(kind=KEYWORD) for parameter in own]
        run.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in signature}
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate


def setting_flag(cls: type, name: str, *, default: object = None) -> Any:
    """Typer's description of the flag of one setting, for a command that takes only some settings.

    None means "not given": `Annotated[int | None, setting_flag(LabelConfig, "num_workers")]`.

    Args:
        cls: a dataclass of settings.
        name: the setting's name.
        default: the command's own default, used instead of the setting's.
    """
    field = next(field for field in fields(cls) if field.name == name)
    setting = settings_of(cls)[name]
    option = _option(field, setting, types_of(cls)[name])
    option.callback = _check_of(setting, _flag(field, setting))
    if default is not None:
        option.show_default = str(default)
    return option


def _parameter(
    cls: type, field: "Field[Any]", arguments: tuple[str, ...]
) -> inspect.Parameter | None:
    """The parameter that Typer reads; None for a group of settings, which only YAML can hold."""
    setting = settings_of(cls)[field.name]
    hint = types_of(cls)[field.name]
    if is_dataclass(hint):
        return None
    kind = _parsed_kind(hint)
    if field.name in arguments:
        info: Any = typer.Argument(help=setting.help, metavar=field.name.upper())
    else:
        info = _option(field, setting, hint)
    if field.default is MISSING:
        info.help += "; needed, here or in the YAML file"
    annotation = Annotated[kind | None, info]  # type: ignore[valid-type]
    return inspect.Parameter(field.name, KEYWORD, default=None, annotation=annotation)


def _option(field: "Field[Any]", setting: Setting, hint: Any) -> Any:
    flag = _flag(field, setting)
    if hint is bool:
        flag += f"/--no-{flag.removeprefix('--')}"  # which wins over `true` in the YAML file
    choices = " or ".join(_choices(hint))
    help = ", ".join(filter(None, (setting.help, choices, setting.bounds)))
    return typer.Option(flag, help=help, show_default=_shown_default(field, setting))


def _flag(field: "Field[Any]", setting: Setting) -> str:
    return setting.flag or f"--{field.name.replace('_', '-')}"


def _check_of(setting: Setting, flag: str) -> Callable[[Any], Any]:
    """What click calls with the value of a flag: it raises `ConfigError` where it may not be."""

    def check(value: Any) -> Any:
        try:
            setting.check(value)
        except OutOfBoundsError as error:
            raise ConfigError(f"{flag} {error}") from None
        return value

    return check


def _shown_default(field: "Field[Any]", setting: Setting) -> str | bool:
    """The default that `--help` prints; the parameter's own default, None, means "not given"."""
    if field.default is MISSING or field.default is False or field.default == ():
        return False
    if field.default is not None:
        return str(field.default)
    return False if setting.unset == "none" else setting.unset


def _choices(hint: Any) -> list[str]:
    names = hint if isinstance(hint, type) and issubclass(hint, StrEnum) else choices_of(hint)
    return [str(name) for name in names]


def _parsed_kind(hint: Any) -> Any:
    """The type that Typer parses: a list for a tuple; text, checked later, for choices."""
    if get_origin(hint) is tuple:
        return list[get_args(hint)[0]]  # type: ignore[misc]
    return str if _choices(hint) else hint
