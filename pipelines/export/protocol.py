"""The protocol of an export format, and the arguments of its methods."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from pipelines.export.classes import ClassMap
from pipelines.export.example import Example
from pipelines.export.folder import ExportFolder

Record = dict[str, Any]  # of one image, fit for JSON


class ImageUse(Enum):
    """What a format does with the image files."""

    COPIED = "copied"
    OPTIONAL = "optional"  # copied, unless only labels are exported
    LINKED = "linked"  # by their uri; they stay where they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One shard of an export, and the folder it is written to."""

    number: int  # of the shard
    classes: ClassMap
    folder: ExportFolder
    made_by: str  # the name of the model


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An export whose units are all written."""

    classes: ClassMap
    folder: ExportFolder
    provenance: Mapping[str, Any]
    num_images: Mapping[str, int]  # of each split that has any
    num_images_in: Mapping[str, Mapping[int, int]]  # of each split, by unit, where it has any
    records: Callable[[], Iterator[tuple[str, Record]]]  # split and record of each image, in order


class Format(Protocol):
    """A file format of labels; it holds no state."""

    image_use: ImageUse

    def write_unit(self, examples: Iterable[Example], unit: Unit) -> Iterator[tuple[str, Record]]:
        """Write the files of each example; yield its split and its record for `join`.

        The same examples give the same bytes under the same keys, so that a unit that was
        interrupted is simply written again.
        """

    def join(self, whole: Whole) -> None:
        """Write the files that need all units."""
