"""Writing the figures of a benchmark."""

import json
from pathlib import Path


def write_json(file: Path, content: object) -> None:
    """Write `content` to `file`, and create its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2))
