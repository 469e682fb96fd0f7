"""The example of docs/teachers.md labels a corpus, and a wrong one writes nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.reader.run import open_run
from tests.factories import encode, make_pixels

PAGE = Path("docs/teachers.md")
WORDS = "classes:\n- {name: light, kind: stuff}\n- {name: dark, kind: stuff}\n"

pytestmark = pytest.mark.slow  # a Ray of its own


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, a vocabulary and the module of the page."""
    (example,) = re.findall(r"```python\n# brightness.py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "brightness.py").write_text(example)
    (tmp_path / "words.yaml").write_text(WORDS)
    (tmp_path / "photos").mkdir()
    for seed in range(2):
        (tmp_path / "photos" / f"{seed}.png").write_bytes(
            encode(make_pixels(seed=seed), format="PNG")
        )
    return tmp_path


def label(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [
        *(Path(sys.executable).with_name("possam"), "label", folder / "photos"),
        *("--output", folder / "run", "--model", "brightness:load"),
        *("--vocabulary", folder / "words.yaml", "--num-workers", "1"),
    ]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_example_labels_a_folder_of_images(folder: Path) -> None:
    done = label(folder)
    assert done.returncode == 0, done.stderr
    images = list(open_run(str(folder / "run")))
    assert len(images) == 2
    for image in images:
        bright = image.pixels().mean(axis=-1) > 127
        found = image.segmentation
        for segment in found.segments:
            is_light = segment.category_name == "light"
            assert ((found.ids == segment.id) == (bright == is_light)).all()
            assert segment.score == pytest.approx(0.9 if is_light else 0.8)
            assert segment.predicted_iou is segment.is_seen is segment.entropy is None


def test_a_teacher_that_cannot_label_is_refused_before_anything_is_written(folder: Path) -> None:
    module = folder / "brightness.py"
    module.write_text(module.read_text().replace("[0.9, 0.8]", "[0.9, 1.8]"))
    done = label(folder)
    assert done.returncode == 2
    assert "probabilities in [0, 1] from the model brightness" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "run").exists()
