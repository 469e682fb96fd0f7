"""Code of the user's own may do anything: it labels, or is refused in one sentence."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from possam_core.errors import TeacherError
from possam_core.teachers.own import load_own_teacher
from tests.possam_core.teachers.test_teacher import WORDS

SAID = {
    "hard masks": None,
    "classes of 32 bits": None,
    "no hard mask": None,
    "real masks": "boolean masks.* got torch.float32",
    "masks of NumPy": "boolean masks.* got ndarray",
    "one mask alone": "masks x height x width.* got masks of 48 x 64",
    "class -1": "classes from 0 to 1 .*got -1",
    "class 2 of 2": "classes from 0 to 1 .*got 2",
    "real classes": "positions in the vocabulary.* got torch.float32",
    "classes as a list": "a tensor of classes .*got list",
    "one class for all": "classes for each of 2 masks .*got 1;",
    "one score for all": "scores for each of 2 masks .*got 1;",
    "whole logits": "real numbers as mask_logits .*got torch.int32",
    "flat logits": "masks x height x width .*got 2 x 3",
    "no grid": "masks x height x width .*got 2 x 0 x 0",
    "no void": "real numbers as void_probs .*got NoneType",
    "void as a column": "void_probs of 2 masks .*got 2 x 1",
    "one IoU for all": "iou_scores of 2 masks .*got 1;",
    "real agreement": "booleans, or None, as clip_agrees .*got torch.float32",
    "two devices": "class_probs on the device of the mask logits .*got meta",
    "no masks": "a ScoredMasks in Proposals .*got NoneType",
    "no frame": "a Frame in Proposals .*got NoneType",
    "a list as size": r"positive whole numbers, as image_hw .*got \[48, 64\]",
    "no canvas": r"positive whole numbers, as canvas_hw .*got \(0, 64\)",
    "beyond the canvas": "canvas of 48 x 64 pixels .*one that fills 48 x 65",
    "fails to load": r"raised KeyError: 'weights' \(.*hostile.py, line \d+\); mend the code",
    "leaves": "raised SystemExit: 3 ",
    "takes nothing": "takes 0 positional arguments",
    "is no function": "a function load in the module hostile, got int",
    "fails to propose": "to label one small image, but it raised KeyError",
    "fails to prepare": "to label one small image, but it raised KeyError",
    "halves": r"labels of 48 x 64 pixels .*, got 24 x 64; mend its prepare\(\)",
    "other words": "given, 'words', got another, 'other'",
    "no words": "a Vocabulary as vocabulary .*got None",
    "card as a dict": "a TeacherCard as card .*got {'name': 'x'}",
    "no merging": "a MergeConfig as merging .*got None",
    "fingerprint as a number": "text as card.fingerprint .*got 1",
    "no name": "text as card.name .*got ''",
    "licence as a number": "text or None as card.licence .*got 3",
    "files as paths": "file names with their sha256 as card.files",
    "names as text": "a tuple of names or None as card.training_names",
}


def test_a_teacher_labels_or_is_refused_in_one_sentence() -> None:
    command = [sys.executable, "-m", "tests.possam_core.teachers.hostile"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert set(told) == set(SAID)
    for mistake, said in SAID.items():
        message = told[mistake]
        if said is None:
            assert message is None, mistake
            continue
        assert message is not None, mistake
        assert re.search(f"^expected .*{said}", message), (mistake, message)
        assert "\n" not in message


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def load(v, d)\n", r"raised SyntaxError: .*broken.py, line 1"),
        ("x = 1\nx / 0\n", r"raised ZeroDivisionError: .*broken.py, line 2\)"),
        ("import sys\nsys.exit(4)\n", "raised SystemExit: 4"),
        ("import no_such_package\n", "No module named 'no_such_package'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused_with_its_line(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    with pytest.raises(TeacherError, match=said):
        load_own_teacher("broken:load", WORDS, device="cpu")
