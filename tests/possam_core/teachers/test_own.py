"""A teacher of the user's own that fails: one sentence with the place in their code."""

from pathlib import Path

import pytest

from possam_core.errors import TeacherError
from possam_core.teachers.own import load_own_teacher, try_teacher
from possam_core.vocabulary.vocabulary import Vocabulary

WORDS = Vocabulary.from_records("words", [{"name": "cup", "kind": "thing"}])
MODULE = """
from possam_core import Teacher
from possam_core.checkpoints.card import TeacherCard

class Mine(Teacher):
    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        self.card = TeacherCard(name="mine", fingerprint="1" * 64, training_names=("cup",))
    def propose(self, images):
        raise KeyError("weights")

def load(vocabulary, device):
    return Mine(vocabulary)

def without_licence(vocabulary, device):
    raise RuntimeError("no licence key")

def of_one_argument(vocabulary):
    return Mine(vocabulary)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "my_failing_teacher.py"
    file.write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return file


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("without_licence", r"RuntimeError: no licence key \(.*my_failing_teacher.py, line 16\)"),
        ("of_one_argument", r"TypeError: of_one_argument\(\) takes 1 positional argument but 2"),
    ],
)
def test_a_function_that_fails_is_named_with_its_reason(
    module: Path, function: str, reason: str
) -> None:
    with pytest.raises(TeacherError, match=rf"my_failing_teacher:{function} to load, .*{reason}"):
        load_own_teacher(f"my_failing_teacher:{function}", WORDS, device="cpu")


def test_so_is_one_that_fails_on_an_image(module: Path) -> None:
    teacher = load_own_teacher("my_failing_teacher:load", WORDS, device="cpu")
    with pytest.raises(TeacherError) as error:
        try_teacher(teacher)
    assert str(error.value).startswith(
        "expected the model mine to label an image of noise, but it raised KeyError: 'weights' ("
    )
    assert str(error.value).endswith("my_failing_teacher.py, line 10); mend it")
