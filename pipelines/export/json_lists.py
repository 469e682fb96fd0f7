"""A JSON object whose lists are too long for memory."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class JsonLists:
    """Collects the lists on disk, one item at a time; appends to different lists may alternate."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        """Work in `folder`, which must hold no files of these names."""
        self._folder = folder
        self._files = {n: (folder / n).open("w+", encoding="utf-8") for n in names}
        self._lengths = dict.fromkeys(names, 0)

    def append(self, name: str, item: Any) -> None:
        """Append an item to the list of that name."""
        file = self._files[name]
        file.write(",\n" if self._lengths[name] else "\n")
        file.write(json.dumps(item, ensure_ascii=False, separators=(",", ":")))
        self._lengths[name] += 1

    def finish(self, head: Mapping[str, Any]) -> Path:
        """Write the file, which holds `head`, then the lists; no more items can be added."""
        path = self._folder / "whole.json"
        with path.open("w", encoding="utf-8") as whole:
            whole.write(json.dumps(head, ensure_ascii=False)[:-1])
            for name, file in self._files.items():
                whole.write(f',\n"{name}": [')
                file.seek(0)
                shutil.copyfileobj(file, whole)
                whole.write("\n]")
                file.close()
            whole.write("}\n")
        return path
