from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def one_image(tmp_path: Path) -> Path:
    """A corpus of one small image."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    return folder
