"""Label Studio: tasks whose segments are pre-annotations to correct, as brush masks.

tasks/train-00000042.json  label_config.xml
"""

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO
from xml.sax.saxutils import quoteattr

from pipelines.export.brush_rle import brush_rle
from pipelines.export.classes import ClassMap
from pipelines.export.example import Example
from pipelines.export.protocol import ImageUse, Record, Unit, Whole


class LabelStudio:
    """Imports into a project that has `label_config.xml`; images stay where they are."""

    image_use = ImageUse.LINKED

    def write_unit(self, examples: Iterable[Example], unit: Unit) -> Iterator[tuple[str, Record]]:
        """Write a list of tasks for each split, which waits on disk until it is whole."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="possam-export-")))
            files: dict[str, TextIO] = {}
            for example in examples:
                split = example.split
                is_first = split not in files
                if is_first:
                    opened = (folder / split).open("w", encoding="utf-8")
                    files[split] = stack.enter_context(opened)
                files[split].write("[\n" if is_first else ",\n")
                files[split].write(json.dumps(task(example), separators=(",", ":")))
                yield split, {}
            for split, file in files.items():
                file.write("\n]\n")
                file.close()
                unit.folder.put_file(f"tasks/{split}-{unit.number:08d}.json", folder / split)

    def join(self, whole: Whole) -> None:
        """Write the configuration of the project."""
        whole.folder.put("label_config.xml", label_config(whole.classes).encode())


def task(example: Example) -> Record:
    """One image to correct."""
    height, width = example.image_hw
    ids = example.ids()
    results: list[dict[str, Any]] = [
        {
            "id": f"{example.stem}-{segment.id}",
            "type": "brushlabels",
            "from_name": "labels",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": round(segment.score, 6),
            "value": {
                "format": "rle",
                "rle": brush_rle(ids, segment.id),
                "brushlabels": [segment.category.name],
            },
        }
        for segment in example.segments
    ]
    data = {"image": example.uri, **example.facts()}
    return {"data": data, "predictions": [{"model_version": "possam", "result": results}]}


def label_config(classes: ClassMap) -> str:
    """The XML that a project needs: an image, and a brush for each class."""
    labels = "\n".join(
        f"    <Label value={quoteattr(c.name)} background={quoteattr(_hex(c.colour))}/>"
        for c in classes.classes
    )
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="labels" toName="image">\n{labels}\n  </BrushLabels>\n</View>\n'
    )


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in colour)
