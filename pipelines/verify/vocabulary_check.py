"""Checks the classes that a run records against its plan."""

import hashlib
import json
from collections.abc import Iterator

from pipelines.run.folder import RunFolder
from pipelines.verify.planned import one_line

KEY = "_plan/vocabulary.json"


def vocabulary_problems(run: RunFolder) -> Iterator[str]:
    """Contradictions of the classes with their sha256 or the plan's; the file may be missing."""
    data = run.read(KEY)
    if data is None:
        return
    try:
        content = json.loads(data)
        # The fields that can change a label: the vocabulary's own sha256 covers the same.
        classes = [
            [c["id"], [c["name"], *c["synonyms"]], c["isthing"], *filter(None, [c.get("parent")])]
            for c in content["categories"]
        ]
        claimed = content["sha256"]
        planned = json.loads(run.read("_plan/plan.json") or b"{}")["settings"]["vocabulary_sha256"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        yield f"{KEY}: cannot be understood ({type(error).__name__}: {one_line(error)})"
        return
    found = hashlib.sha256(json.dumps(classes).encode()).hexdigest()
    if found != claimed:
        yield f"{KEY}: says sha256 {claimed}, its classes have {found}"
    if found != planned:
        yield f"{KEY}: its classes have sha256 {found}, the plan says {planned}"
