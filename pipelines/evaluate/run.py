"""Panoptic quality of a run against ground truth in COCO panoptic format, and by grade."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from pipelines.evaluate.figures import Figures
from pipelines.evaluate.record import figures_record
from pipelines.evaluate.run_measurement import measure_row
from pipelines.evaluate.tables import figures_table
from pipelines.evaluate.truth import RunTruth
from pipelines.export.example import path_in_corpus
from pipelines.redaction import without_secrets
from pipelines.run.committed import open_committed, read_machine_rows
from pipelines.run.grading import standing, why_uncalibrated
from pipelines.run.plan import PlanSettings, load_plan
from pipelines.schema import is_labelled, to_rows
from possam_core.checkpoints.models import model_fingerprint, promised_grades
from possam_core.errors import GroundTruthError, PossamError
from possam_core.evaluation.measurement import Measurement, mean_image_pq
from possam_core.evaluation.panoptic_quality import PanopticQuality, summarise
from possam_core.evaluation.percent import percent, quality_percents
from possam_core.evaluation.reliability import CLASS_SCORE
from possam_core.labels.quality import GRADES


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeCalibration:
    """The quality of the labels of one grade, and the quality that the grade promises."""

    grade: str
    num_images: int
    quality: PanopticQuality  # of these images together
    expected_pq: float | None  # their PQ at calibration; None: not known, or not calibrated here
    image_pq: float | None  # mean PQ of the images; None: no image has a segment that counts
    expected_image_pq: float | None  # at calibration; None: as above, or not calibrated


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """How well a run's labels match the ground truth."""

    run: str
    ground_truth: str  # address of the JSON
    settings: PlanSettings  # of the run
    figures: Figures  # of the images that were measured
    image_ids: tuple[str, ...]  # of those images, by their index
    grades: tuple[GradeCalibration, ...]  # from A to D; grades without images are left out
    uncalibrated: str | None  # why the grades promise nothing here; None: they do
    num_errors: int  # images without labels: all their true segments are missed
    num_without_truth: int  # images of the run that are not in the ground truth; left out
    num_without_row: int  # images of the ground truth that are not in the run; left out

    @property
    def quality(self) -> Mapping[str, PanopticQuality]:
        """Of all, things, stuff and, if the run has both, seen and unseen classes."""
        return self.figures.quality

    @property
    def num_images(self) -> int:
        """How many images were measured."""
        return len(self.image_ids)

    def to_table(self) -> RenderableType:
        """The scores x 100, of classes and of grades, for a terminal."""
        return Group(self._quality_table(), *([self._grade_table()] if self.grades else []))

    def to_json(self) -> dict[str, Any]:
        """The figures, in [0, 1]; None: nothing to measure."""
        record = figures_record(self.figures)
        del record["reliability"][CLASS_SCORE]  # a run does not keep what it compares
        for of_class in record["classes"]:
            del of_class["iou"], of_class["ap"]
        return {
            "run": self.run,
            "model": {"name": self.settings.model, "sha256": self.settings.model_sha256},
            "data": {"annotations": self.ground_truth, "images": self.settings.images},
            "num_errors": self.num_errors,
            "num_without_truth": self.num_without_truth,
            "num_without_row": self.num_without_row,
            "uncalibrated": self.uncalibrated,
            "grades": [asdict(grade) for grade in self.grades],
            **record,
        }

    def _quality_table(self) -> Table:
        caption = f"{self.num_images} images"
        if self.num_errors:
            caption += f", {self.num_errors} of them without labels: their segments are missed"
        if self.num_without_truth:
            caption += f"; left out: {self.num_without_truth} without ground truth"
        if self.num_without_row:
            caption += f"; left out: {self.num_without_row} that are not in the run"
        columns = ("classes", "PQ", "SQ", "RQ", "number")
        table = figures_table("Panoptic quality, in percent", *columns, caption=caption)
        for name, q in self.quality.items():
            table.add_row(name, *quality_percents(q), str(q.num_classes))
        return table

    def _grade_table(self) -> Table:
        caption = "expected: as measured for this model on the images that it was calibrated with"
        if self.uncalibrated is not None:
            caption = standing(self.uncalibrated)
        compared = ("expected", "off by")
        table = figures_table(
            "Calibration of the grades",
            *("grade", "images", "PQ", *compared, "PQ of an image", *compared),
            caption=caption,
        )
        for g in self.grades:
            scores = _compared(g.quality.pq, g.expected_pq)
            scores += _compared(g.image_pq, g.expected_image_pq)
            table.add_row(g.grade, f"{g.num_images:,}", *scores)
        return table


def evaluate_run(
    run: str, ground_truth: str | Path, *, masks: str | None = None
) -> EvaluationReport:
    """Compare the committed labels of `run` with the ground truth of the same images.

    This measures the model: corrected images count with the model's labels.

    Args:
        run: location of the run.
        ground_truth: JSON in COCO panoptic format, local or `s3://`.
        masks: folder of its id PNGs; None: the JSON without its suffix.

    Raises:
        ConfigError: there is no run, or an image of the truth may be any of several.
        GroundTruthError: the ground truth is invalid, or of other images or classes.
    """
    folder = open_committed(run)
    plan = load_plan(folder)
    assert plan is not None  # it was opened as a run
    truth = RunTruth(folder, location=str(ground_truth), masks=masks)
    total, image_ids = Measurement(), list[str]()
    num_errors = num_without_truth = 0
    for committed in read_machine_rows(folder):
        rows = to_rows(committed.rows)
        num_without_truth += sum(row["image_id"] not in truth.indices for row in rows)
        for row, annotation in truth.read_all(rows):
            name = without_secrets(path_in_corpus(row["uri"], plan.settings.images))
            total += measure_row(row, annotation, index=len(image_ids), name=name)
            image_ids.append(row["image_id"])
            num_errors += not is_labelled(row)
    if not image_ids:
        raise GroundTruthError(
            f"expected ground truth of the images in {run}, but {ground_truth} names none of them;"
            " compare its file names with the uris of the run"
        )
    uncalibrated = why_uncalibrated(folder)
    promised = {} if uncalibrated is not None else _promised_by_model(plan.settings)
    return EvaluationReport(
        run=run,
        ground_truth=truth.location,
        settings=plan.settings,
        figures=Figures(
            vocabulary=truth.frozen.vocabulary, is_seen=truth.frozen.is_seen, measurement=total
        ),
        image_ids=tuple(image_ids),
        grades=tuple(_calibrations(total, promised)),
        uncalibrated=uncalibrated,
        num_errors=num_errors,
        num_without_truth=num_without_truth,
        num_without_row=len(truth) - len(image_ids),
    )


def _promised_by_model(settings: PlanSettings) -> Mapping[str, Mapping[str, Any]]:
    """The quality of each grade when the run's model was calibrated.

    Empty: its checkpoint is no longer here.
    """
    try:
        if model_fingerprint(settings.model) != settings.model_sha256:
            return {}
        return promised_grades(settings.model) or {}
    except PossamError:
        return {}


def _calibrations(
    measured: Measurement, promised: Mapping[str, Mapping[str, Any]]
) -> Iterator[GradeCalibration]:
    """Of each grade that images have."""
    for grade in GRADES:
        images = [image for image in measured.images if image.grade == grade]
        if not images:
            continue
        counts = measured.by_grade[grade]
        of_grade = promised.get(grade, {})
        yield GradeCalibration(
            grade=grade,
            num_images=len(images),
            quality=summarise(counts, {"all": counts.per_category})["all"],
            expected_pq=of_grade.get("pq"),
            image_pq=mean_image_pq(images),
            expected_image_pq=of_grade.get("image_pq"),
        )


def _compared(measured: float | None, expected: float | None) -> list[str]:
    """Both and their difference, x 100."""
    texts = [percent(measured), percent(expected)]
    if measured is None or expected is None:
        return [*texts, "-"]
    return [*texts, f"{100 * (measured - expected):+.1f}"]
