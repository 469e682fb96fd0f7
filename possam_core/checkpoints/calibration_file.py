"""A calibration in a file of its own, for a model whose files cannot hold one: JSON that names it.

Such a file is named in place of the model. Free of torch.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from possam_core.checkpoints.card import TeacherCard
from possam_core.checkpoints.model_file import file_sha256
from possam_core.errors import CheckpointError, one_line
from possam_core.labels.calibration_set import CalibrationSet

CALIBRATION_SUFFIX = ".calibration.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFile:
    """What was fitted to a model on labelled images, and what it was worth there."""

    path: Path
    model: str  # its name or absolute path
    fingerprint: str  # of that model
    calibration: Mapping[str, Any]  # settings of `CalibrationConfig`
    metrics: Mapping[str, Any]  # of `calibrate_teacher`

    def card(self, card: TeacherCard) -> TeacherCard:
        """That of the calibrated model, from that of the model.

        Raises:
            CheckpointError: it is another model by now, or the file is damaged.
        """
        if card.fingerprint != self.fingerprint:
            raise CheckpointError(
                f"expected the model that {self.path} was fitted to, but the files of {self.model}"
                " have changed since; restore them, or run `possam calibrate` again"
            )
        sha256 = file_sha256(self.path)
        try:
            is_graded = (
                self.calibration["expected_pq"] is not None
            )  # else there were too few images
            calibrated = CalibrationSet.from_json(self.metrics["set"]) if is_graded else None
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise damaged_calibration(self.path, error) from error
        return replace(
            card,
            fingerprint=hashlib.sha256(f"{card.fingerprint} {sha256}".encode()).hexdigest(),
            files={**card.files, self.path.name: sha256},
            calibrated=calibrated,
        )

    def write(self) -> None:
        """Write the file at its path."""
        names = ("model", "fingerprint", "calibration", "metrics")
        content = {name: getattr(self, name) for name in names}
        self.path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def find_calibration(model: str) -> CalibrationFile | None:
    """The calibration at a path; None: `model` is something else.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = Path(model)
    if not model.endswith(CALIBRATION_SUFFIX) or not path.is_file():
        return None
    try:
        found = CalibrationFile(path=path, **json.loads(path.read_text(encoding="utf-8")))
        _require_kinds(found)
    except (OSError, ValueError, TypeError) as error:
        raise damaged_calibration(path, error) from error
    return found


def _require_kinds(found: CalibrationFile) -> None:
    """Whether the settings make sense is asked where they are built."""
    for name, kind in (
        ("model", str),
        ("fingerprint", str),
        ("calibration", Mapping),
        ("metrics", Mapping),
    ):
        if not isinstance(value := getattr(found, name), kind):
            raise TypeError(f"{name} is {value!r:.80}")
    if found.model.endswith(CALIBRATION_SUFFIX):
        raise ValueError(f"it is of another calibration, {found.model}")
    grades = found.metrics.get("grades")
    if not isinstance(grades, Mapping) or not all(isinstance(g, Mapping) for g in grades.values()):
        raise TypeError(f"metrics.grades is {grades!r:.80}")


def damaged_calibration(path: Path, error: Exception) -> CheckpointError:
    """The error for a calibration that cannot be read, by what was found in it."""
    return CheckpointError(
        f"expected a calibration in {path}, but it cannot be read ({one_line(error)}); write it"
        " again with `possam calibrate`"
    )
