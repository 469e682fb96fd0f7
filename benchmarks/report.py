"""Where the figures of a benchmark go."""

import json
from pathlib import Path


def write_json(file: Path, content: object) -> None:
    """Write `content` to `file`, whose folder may not exist yet."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2))
