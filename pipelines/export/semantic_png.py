"""Semantic PNGs: each grey level is the index of a class.

images/train/*.jpg  annotations/train/*.png  classes.json
"""

from collections.abc import Iterable, Iterator

from pipelines.export.classes import ClassMap
from pipelines.export.example import Example
from pipelines.export.protocol import ImageUse, Record, Unit, Whole

VOID_8_BITS, VOID_16_BITS = 255, 65535


class SemanticPng:
    """Opens with any trainer of semantic segmentation that reads folders."""

    image_use = ImageUse.OPTIONAL

    def write_unit(self, examples: Iterable[Example], unit: Unit) -> Iterator[tuple[str, Record]]:
        """Write a PNG for each example, and its picture."""
        for example in examples:
            png = semantic_png(example, unit.classes)
            unit.folder.put(f"annotations/{example.split}/{example.stem}.png", png)
            if example.picture is not None:
                key = f"images/{example.split}/{example.file_name}"
                unit.folder.put(key, example.picture.data)
            yield example.split, {}

    def join(self, whole: Whole) -> None:
        """Write the class of each grey level."""
        content = {
            "void": void_level(whole.classes),
            "classes": [{"index": c.index} | c.to_json() for c in whole.classes.classes],
        }
        whole.folder.put_json("classes.json", content)


def void_level(classes: ClassMap) -> int:
    """The grey level of pixels without a class: the highest of 8 bits, or else of 16."""
    return VOID_8_BITS if len(classes.classes) <= VOID_8_BITS else VOID_16_BITS


def semantic_png(example: Example, classes: ClassMap) -> bytes:
    """The index of each pixel's class as a grey level."""
    void = void_level(classes)
    return example.classes_png(void=void, bit_depth=8 if void == VOID_8_BITS else 16)
