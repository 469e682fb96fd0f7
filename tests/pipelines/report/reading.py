"""Reads back what the viewer's data files hold."""

import json
from pathlib import Path
from typing import Any


def read_call(path: Path) -> Any:
    """The arguments of the one call that a data file makes."""
    text = path.read_text(encoding="ascii")
    assert text.startswith("possam.")
    assert text.endswith(");\n")
    return json.loads(f"[{text[text.index('(') + 1 : -3]}]")


def read_head(folder: Path) -> dict[str, Any]:
    """What the viewer shows beside the images."""
    (head,) = read_call(folder / "data" / "head.js")
    return head


def read_pictures(folder: Path) -> list[dict[str, Any]]:
    """All pictures, in the order of the pages."""
    pictures = []
    for number, path in enumerate(sorted(folder.glob("data/page-*.js"))):
        read_number, page = read_call(path)
        assert read_number == number
        pictures += page
    return pictures


def read_column(folder: Path, key: str) -> list[Any]:
    """A measure of all rows, or their names."""
    column = []
    for path in sorted(folder.glob("data/index-*.js")):
        (blocks,) = read_call(path)
        for block in blocks:
            column += block["names"] if key == "names" else block["measures"][key]
    return column
