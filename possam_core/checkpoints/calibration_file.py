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
        except (KeyError, TypeError, AttributeError) as error:
            raise _damaged(self.path, error) from error
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
        return CalibrationFile(path=path, **json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"expected a calibration in {path}, but it cannot be read ({one_line(error)}); write it"
        " again with `possam calibrate`"
    )
