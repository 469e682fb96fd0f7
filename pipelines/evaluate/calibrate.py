"""The calibration job: a checkpoint and labelled images in, the same checkpoint calibrated out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from rich.console import Group, RenderableType
from rich.table import Table

from pipelines.evaluate.tables import CLAIM_NAMES, figures_table
from pipelines.settings.shared_fields import Model, OneGpu
from pipelines.train.config import DataConfig
from pipelines.train.data import open_images
from possam_core.checkpoints.calibration_file import (
    CALIBRATION_SUFFIX,
    CalibrationFile,
    find_calibration,
)
from possam_core.checkpoints.models import SUFFIX, find_other, is_own_teacher, resolve_model
from possam_core.checkpoints.weights import copy_with_card
from possam_core.errors import ConfigError
from possam_core.evaluation.percent import percent
from possam_core.predictor import Predictor, load_teacher
from possam_core.settings import Setting, require_valid
from possam_core.teachers.teacher import Teacher
from possam_core.training.calibrate import Calibrated, calibrate_teacher
from possam_core.training.data.labelled import EveryOther


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateConfig:
    """The model to calibrate, the labelled images, and the checkpoint to write."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    model: Model
    data: Annotated[DataConfig, Setting("labelled images that the model has not learned from")]
    output: Annotated[
        str,
        Setting(
            "checkpoint to write, or .calibration.json of another model",
            example="calibrated.safetensors",
        ),
    ]
    gpus_per_worker: OneGpu = 0

    def __post_init__(self) -> None:
        path, wrong = Path(self.output), ""
        if not path.name.endswith((SUFFIX, CALIBRATION_SUFFIX)) or not path.parent.is_dir():
            wrong = (
                f"expected a {SUFFIX} file, or {CALIBRATION_SUFFIX} of a model that is not PosSAM,"
                f" in an existing folder for output, got {self.output}; name one"
            )
        require_valid(self, wrong)


def calibrate_checkpoint(
    config: CalibrateConfig, *, on_images: Callable[[int, int], None]
) -> Calibrated:
    """Fit on every other image, measure on the rest, and write the checkpoint or calibration.

    Args:
        config: model and data.
        on_images: called with the number of images labelled so far, and of all.

    Raises:
        PossamError: the model or the data cannot be used; the message names the file.
    """
    images = open_images(config.data)
    if len(images) < 2:
        raise ConfigError(f"expected two images at least to calibrate with, got {len(images)}")
    device = "cuda" if config.gpus_per_worker else "cpu"
    _require_fitting_output(config)
    teacher = load_teacher(config.model, images.vocabulary, device=device)
    num_done = 0

    def count_one() -> None:
        nonlocal num_done
        num_done += 1
        on_images(num_done, len(images))

    calibrated = calibrate_teacher(
        lambda _: teacher,  # both halves have its vocabulary
        fit_on=EveryOther(images, first=0),
        measure_on=EveryOther(images, first=1),
        on_image=count_one,
    )
    _write(config, teacher, calibrated)
    return calibrated


def _require_fitting_output(config: CalibrateConfig) -> None:
    """Return only if the output can hold the calibration of that model."""
    if is_own_teacher(config.model) or find_calibration(config.model) is not None:
        raise ConfigError(
            f"expected a model that is not calibrated yet, or a checkpoint, got {config.model};"
            " name the model itself, or set `calibration` in your own teacher"
        )
    is_possam = find_other(config.model) is None
    if is_possam != config.output.endswith(SUFFIX):
        wanted = SUFFIX if is_possam else CALIBRATION_SUFFIX
        raise ConfigError(
            f"expected a {wanted} file as output for {config.model}, got {config.output}; name one"
        )


def _write(config: CalibrateConfig, teacher: Teacher, calibrated: Calibrated) -> None:
    if isinstance(teacher, Predictor):
        card = teacher.model.card
        card = replace(
            card,
            inference=replace(card.inference, calibration=calibrated.calibration),
            metrics=card.metrics | {"calibration": calibrated.metrics},
        )
        copy_with_card(resolve_model(config.model).checkpoint, Path(config.output), card)
        return
    named = Path(config.model)
    CalibrationFile(
        path=Path(config.output),
        model=str(named.absolute()) if named.exists() else config.model,
        fingerprint=teacher.fingerprint,
        calibration=asdict(calibrated.calibration),
        metrics=calibrated.metrics,
    ).write()


def calibration_tables(calibrated: Calibrated) -> RenderableType:
    """Calibration errors before and after, and the quality of each grade, x 100."""
    metrics = calibrated.metrics
    errors = figures_table("Expected calibration error, in percent", "of", "before", "after")
    for claim, found in metrics["expected_calibration_error"].items():
        errors.add_row(CLAIM_NAMES[claim], percent(found["before"]), percent(found["after"]))
    return Group(errors, _grades(metrics))


def _grades(metrics: dict[str, Any]) -> Table:
    names = ("grade", "images", "PQ", "PQ of an image", "expected")
    table = figures_table("Grades, in percent", *names)
    for grade, found in metrics["grades"].items():
        shares = (found["pq"], found["image_pq"], found["expected_pq"])
        table.add_row(grade, f"{found['images']:,}", *(percent(share) for share in shares))
    return table
