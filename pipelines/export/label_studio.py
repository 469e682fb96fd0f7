"""Label Studio: tasks whose segments are pre-annotations to correct, as brush masks.

tasks/train-00000042.json  label_config.xml
"""

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from pipelines.export.example import Example
from pipelines.export.protocol import ImageUse, Record, Unit, Whole
from pipelines.formats.label_studio import brush_result, label_config, write_task


class LabelStudio:
    """Imports into a project that has `label_config.xml`; images stay where they are."""

    image_use = ImageUse.LINKED

    def write_unit(self, examples: Iterable[Example], unit: Unit) -> Iterator[tuple[str, Record]]:
        """Write a list of tasks for each split, which stays in a temporary file until complete."""
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
                files[split].write(json.dumps(task(example, unit.made_by), separators=(",", ":")))
                yield split, {}
            for split, file in files.items():
                file.write("\n]\n")
                file.close()
                unit.folder.replace_file(f"tasks/{split}-{unit.number:08d}.json", folder / split)

    def join(self, whole: Whole) -> None:
        """Write the configuration of the project."""
        colours = {c.name: c.colour for c in whole.classes.classes}
        whole.folder.put("label_config.xml", label_config(colours).encode())


def task(example: Example, made_by: str) -> Record:
    """The task of correcting one image, whose labels the model `made_by` has made."""
    ids = example.ids()
    results = [
        brush_result(
            ids == segment.id,
            segment.category.name,
            result_id=f"{example.stem}-{segment.id}",
            score=segment.score,
        )
        for segment in example.segments
    ]
    return write_task(example.uri, example.facts(), results, made_by=made_by)
