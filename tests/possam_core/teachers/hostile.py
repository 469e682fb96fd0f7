"""Teachers of a user's own with one mistake each, tried as a run would; prints what each is told.

A program of its own, because in the tests a type checker would find some mistakes before us.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch

from possam_core.errors import TeacherError
from possam_core.teachers.own import load_own_teacher
from possam_core.teachers.teacher import Proposals
from possam_core.vocabulary.vocabulary import Vocabulary
from tests.possam_core.teachers.test_teacher import WORDS, Detector, with_masks

OTHER = Vocabulary.from_records(
    "other", [{"name": "ufo", "kind": "thing"}, {"name": "sea", "kind": "stuff"}]
)
MASKS = torch.tensor([[[True, False]], [[True, True]]]).repeat_interleave(48, 1)
MASKS = MASKS.repeat_interleave(32, 2)  # of the trial image's 48 x 64 pixels
CLASSES, SCORES = torch.tensor([0, 1]), torch.tensor([0.9, 0.6])
LOGITS = torch.zeros(2, 48, 64)


def teacher(change: object = None, **attributes: object) -> Callable[..., Detector]:
    def load(vocabulary: Vocabulary, device: str) -> Detector:
        made = Detector(change)
        for name, value in attributes.items():
            setattr(made, name, value)
        return made

    return load


def hard(**changes: object) -> Callable[..., Detector]:
    """One that calls `of_hard_masks` with other arguments."""
    given = {"masks": MASKS, "class_indices": CLASSES, "scores": SCORES} | changes
    return teacher(lambda _: Proposals.of_hard_masks(**given, num_classes=2))


def framed(**changes: object) -> Callable[..., Detector]:
    return teacher(lambda p: replace(p, frame=replace(p.frame, **changes)))


def scored(**changes: object) -> Callable[..., Detector]:
    return teacher(with_masks(**changes))


def described(**changes: object) -> Callable[..., Detector]:
    return teacher(card=replace(Detector.card, **changes))


def fails(*_: object) -> None:
    raise KeyError("weights")


def leaves(*_: object) -> None:
    raise SystemExit(3)


LOADERS = {
    "hard masks": hard(),
    "classes of 32 bits": hard(class_indices=CLASSES.int()),
    "no hard mask": hard(masks=MASKS[:0], class_indices=torch.tensor([]), scores=torch.tensor([])),
    "real masks": hard(masks=MASKS.float()),
    "masks of NumPy": hard(masks=MASKS.numpy()),
    "one mask alone": hard(masks=MASKS[0]),
    "class -1": hard(class_indices=torch.tensor([0, -1])),
    "class 2 of 2": hard(class_indices=torch.tensor([0, 2])),
    "real classes": hard(class_indices=CLASSES.float()),
    "classes as a list": hard(class_indices=[0, 1]),
    "one class for all": hard(class_indices=CLASSES[:1]),
    "one score for all": hard(scores=SCORES[:1]),
    "whole logits": scored(mask_logits=LOGITS.int()),
    "flat logits": scored(mask_logits=torch.zeros(2, 3)),
    "no grid": scored(mask_logits=torch.zeros(2, 0, 0)),
    "no void": scored(void_probs=None),
    "void as a column": scored(void_probs=torch.zeros(2, 1)),
    "one IoU for all": scored(iou_scores=torch.ones(1)),
    "real agreement": scored(clip_agrees=torch.ones(2)),
    "two devices": scored(class_probs=torch.zeros(2, 2, device="meta")),
    "no masks": teacher(lambda p: replace(p, masks=None)),
    "no frame": teacher(lambda p: replace(p, frame=None)),
    "a list as size": framed(image_hw=[48, 64]),
    "no canvas": framed(canvas_hw=(0, 64)),
    "beyond the canvas": framed(resized_hw=(48, 65)),
    "fails to load": fails,
    "leaves": leaves,
    "takes nothing": lambda: None,
    "is no function": 3,
    "fails to propose": teacher(propose=fails),
    "fails to prepare": teacher(prepare=fails),
    "halves": teacher(prepare=lambda image: image[::2]),
    "other words": teacher(vocabulary=OTHER),
    "no words": teacher(vocabulary=None),
    "card as a dict": teacher(card={"name": "x"}),
    "no merging": teacher(merging=None),
    "fingerprint as a number": described(fingerprint=1),
    "no name": described(name=""),
    "licence as a number": described(licence=3),
    "files as paths": described(files={"a": Path("b")}),
    "names as text": described(training_names="person"),
}


def main() -> None:
    """Print a JSON object: of each teacher what it was told, or null."""
    module = sys.modules["hostile"] = ModuleType("hostile")
    said = dict[str, str | None]()
    for name, load in LOADERS.items():
        vars(module)["load"] = load
        try:
            load_own_teacher("hostile:load", WORDS, device="cpu")
            said[name] = None
        except TeacherError as error:
            said[name] = str(error)
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
