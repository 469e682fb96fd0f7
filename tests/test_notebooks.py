"""The stories in `notebooks/` run from top to bottom, as a user would run them.

`PATH="$PWD/.venv/bin:$PATH" jupyter execute --inplace notebooks/*.ipynb` writes their outputs anew.
"""

import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NUM_PICTURES = {"1-your-words": 2, "2-trust": 2, "3-teach": 0}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NUM_PICTURES)
def test_a_story_runs_from_top_to_bottom(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    story = nbformat.read(shutil.copy(NOTEBOOKS / f"{name}.ipynb", tmp_path), as_version=4)
    executed = NotebookClient(
        story, timeout=200, resources={"metadata": {"path": tmp_path}}
    ).execute()
    pictures = [
        output
        for cell in executed.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == NUM_PICTURES[name]


def test_every_story_is_told() -> None:
    assert {file.stem for file in NOTEBOOKS.glob("*.ipynb")} == set(NUM_PICTURES)
