"""The classes of an export: the run's, some of them, or new ones that merge them."""

import colorsys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.formats.coco_panoptic import category_record
from pipelines.run.classes import Category
from pipelines.settings.yaml_file import read_settings
from possam_core.errors import ConfigError, nearest

YAML_SUFFIXES = (".yaml", ".yml")
_GOLDEN_RATIO, _PLASTIC_RATIO = 0.618034, 0.754878  # multiples of them never come close to 0 mod 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedClass:
    """One class of the export."""

    index: int  # position among the classes, things first: the contiguous id that trainers want
    id: int  # category id in the data set
    name: str
    is_thing: bool

    @property
    def colour(self) -> tuple[int, int, int]:
        """RGB to show it in; neighbours in the list differ most."""
        lightness = 0.4 + 0.3 * (self.index * _PLASTIC_RATIO % 1)
        red, green, blue = colorsys.hls_to_rgb(self.index * _GOLDEN_RATIO % 1, lightness, 0.7)
        return round(255 * red), round(255 * green), round(255 * blue)

    def to_json(self) -> dict[str, Any]:
        """The category in COCO panoptic format."""
        return category_record(self.id, self.name, is_thing=self.is_thing, colour=self.colour)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMap:
    """The classes of an export, and the run's classes mapped to them; all others become void."""

    classes: tuple[ExportedClass, ...]  # by index
    index_of: Mapping[int, int]  # category id in the run -> index

    def to_json(self) -> list[dict[str, Any]]:
        """The categories in COCO panoptic format."""
        return [category.to_json() for category in self.classes]


def choose_classes(categories: Sequence[Category], choice: str | None) -> ClassMap:
    """The classes that `choice` asks for.

    Args:
        categories: the run's.
        choice: names separated by commas; or a YAML file of `new name: [old names]`, whose classes
            get ids from 1 in the order of the file; None: all classes.

    Raises:
        ConfigError: the file cannot be read, a class is unknown or used twice, or one class would
            merge things and stuff.
    """
    by_name = {category.name: category for category in categories}
    if choice is not None and choice.lower().endswith(YAML_SUFFIXES):
        groups = _read_groups(Path(choice))
        is_renamed = True
    else:
        names = list(by_name) if choice is None else [n.strip() for n in choice.split(",")]
        groups = {name: [name] for name in names if name}
        is_renamed = False
    if mistakes := list(_mistakes(groups, by_name, is_renamed=is_renamed)):
        raise ConfigError("; ".join(mistakes))
    chosen = [
        (number if is_renamed else by_name[new].id, new, [by_name[name] for name in old])
        for number, (new, old) in enumerate(groups.items(), start=1)
    ]
    chosen.sort(key=lambda group: not group[2][0].is_thing)
    return ClassMap(
        classes=tuple(
            ExportedClass(index=i, id=id_, name=name, is_thing=old[0].is_thing)
            for i, (id_, name, old) in enumerate(chosen)
        ),
        index_of={old.id: i for i, (_, _, group) in enumerate(chosen) for old in group},
    )


def _read_groups(file: Path) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for new, old in read_settings(file).items():
        if not isinstance(old, list) or not old or not all(isinstance(n, str) for n in old):
            raise ConfigError(
                f"expected `new name: [old names]` in {file}, got {new}: {old!r}; write the classes"
                " that become it in brackets"
            )
        groups[new] = old
    return groups


def _mistakes(
    groups: Mapping[str, list[str]], by_name: Mapping[str, Category], *, is_renamed: bool
) -> Iterator[str]:
    """One sentence for each mistake."""
    if not groups:
        yield "expected at least one class to export, got none; leave out --classes for all"
    taken: dict[str, str] = {}
    for new, old in groups.items():
        for name in old:
            if name not in by_name:
                advice = nearest(name, by_name, otherwise="possam stats lists them")
                if not is_renamed:
                    advice += ", and a YAML file of `new name: [old names]` gives or joins names"
                yield f"expected classes of the run, got {name!r}; {advice}"
            elif name in taken:
                yield f"expected {name!r} once, got it for {taken[name]!r} and {new!r}; delete one"
            taken.setdefault(name, new)
        kinds = {by_name[name].is_thing for name in old if name in by_name}
        if len(kinds) > 1:
            yield f"expected things or stuff as {new!r}, got both; make two classes of them"
