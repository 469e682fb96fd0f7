"""Panoptic quality of a run against ground truth in COCO panoptic format, and by grade.

Axes: H W pixels of the image.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table

from pipelines.evaluate.tables import figures_table
from pipelines.run.committed import open_committed, read_machine_rows
from pipelines.run.folder import RunFolder
from pipelines.run.id_map import id_map
from pipelines.run.plan import load_plan
from pipelines.schema import OK, Row, is_labelled, to_rows
from possam_core.checkpoints.header import model_fingerprint, promised_grades
from possam_core.errors import CheckpointError, GroundTruthError
from possam_core.evaluation.coco_panoptic import TrueImage, read_annotation, read_ground_truth
from possam_core.evaluation.measurement import image_pq
from possam_core.evaluation.panoptic_quality import (
    PanopticAnnotation,
    PanopticQuality,
    PanopticQualityCounts,
    category_groups,
    count_matches,
    summarise,
)
from possam_core.evaluation.percent import percent, quality_percents
from possam_core.labels.quality import EXPECTED_PQ, GRADES


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeCalibration:
    """The quality of the labels of one grade, and the quality that the grade promises."""

    grade: str
    num_images: int
    quality: PanopticQuality  # of these images together
    expected_pq: float | None  # their PQ at calibration; None: no image had the grade then
    image_pq: float | None  # mean PQ of the images; None: no image has a segment that counts
    expected_image_pq: float | None  # at calibration; None: as above, or not calibrated


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """How well a run's labels match the ground truth."""

    run: str
    quality: Mapping[str, PanopticQuality]  # of all, things, stuff and, if known, seen and unseen
    counts: PanopticQualityCounts
    grades: tuple[GradeCalibration, ...]  # from A to D; grades without images are left out
    is_calibrated: bool  # else the expected figures are of possam-tiny on playground scenes
    num_images: int  # that were measured
    num_errors: int  # of those, images without labels: all their true segments are missed
    num_without_truth: int  # images of the run that are not in the ground truth; left out
    num_without_row: int  # images of the ground truth that are not in the run; left out

    def to_table(self) -> RenderableType:
        """The scores x 100, of classes and of grades, for a terminal."""
        return Group(self._quality_table(), *([self._grade_table()] if self.grades else []))

    def to_json(self) -> dict[str, Any]:
        """The figures, in [0, 1]."""
        return {
            "run": self.run,
            "num_images": self.num_images,
            "num_errors": self.num_errors,
            "num_without_truth": self.num_without_truth,
            "num_without_row": self.num_without_row,
            "panoptic": {name: asdict(quality) for name, quality in self.quality.items()},
            "grades": [asdict(grade) for grade in self.grades],
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
        of = "this model on the images that it was calibrated with"
        if not self.is_calibrated:
            of = "an earlier possam-tiny, not calibrated, on playground scenes"
        of_image = ("PQ of an image", "expected", "off by") if self.is_calibrated else ()
        table = figures_table(
            "Calibration of the grades",
            *("grade", "images", "PQ", "expected", "off by", *of_image),
            caption=f"expected: as measured for {of}",
        )
        for g in self.grades:
            scores = _compared(g.quality.pq, g.expected_pq)
            if self.is_calibrated:
                scores += _compared(g.image_pq, g.expected_image_pq)
            table.add_row(g.grade, f"{g.num_images:,}", *scores)
        return table


def evaluate_run(run: str, ground_truth: Path) -> EvaluationReport:
    """Compare the committed labels of `run` with the ground truth of the same file names.

    This measures the model: corrected images count with the model's labels.

    Raises:
        ConfigError: there is no run.
        GroundTruthError: the ground truth is invalid, or of other images or classes.
    """
    truth = read_ground_truth(ground_truth)
    folder = open_committed(run)
    unmatched = _by_name(truth.images)
    names = {category.id: category.name for category in truth.categories}
    counts, outcomes = PanopticQualityCounts(), Counter[str]()
    by_grade: defaultdict[str, PanopticQualityCounts] = defaultdict(PanopticQualityCounts)
    image_pqs: defaultdict[str, list[float | None]] = defaultdict(list)
    for row in _read_rows(folder):
        name = PurePosixPath(row["uri"]).name
        image = unmatched.pop(name, None)
        if image is None:
            outcomes["without_truth"] += 1
            continue
        outcomes[row["status"]] += 1
        found = _compare(image, row, names)
        counts += found
        if is_labelled(row):
            by_grade[row["quality"]["grade"]] += found
            image_pqs[row["quality"]["grade"]].append(image_pq(found))
    num_images = outcomes.total() - outcomes["without_truth"]
    if not num_images:
        raise GroundTruthError(
            f"expected ground truth of the images in {run}, but {ground_truth} names none of them"
        )
    promised = _promised_by_model(folder)
    return EvaluationReport(
        run=run,
        quality=summarise(counts, category_groups(truth.categories)),
        counts=counts,
        grades=tuple(
            _calibration(grade, by_grade[grade], image_pqs[grade], promised)
            for grade in GRADES
            if image_pqs[grade]
        ),
        is_calibrated=promised is not None,
        num_images=num_images,
        num_errors=num_images - outcomes[OK],
        num_without_truth=outcomes["without_truth"],
        num_without_row=len(unmatched),
    )


def _promised_by_model(run: RunFolder) -> Mapping[str, Mapping[str, Any]] | None:
    """The quality of each grade when the run's model was calibrated.

    None: it was not calibrated, or its checkpoint is no longer here.
    """
    plan = load_plan(run)
    assert plan is not None  # it was opened as a run
    try:
        if model_fingerprint(plan.settings.model) != plan.settings.model_sha256:
            return None
        return promised_grades(plan.settings.model)
    except CheckpointError:
        return None


def _calibration(
    grade: str,
    counts: PanopticQualityCounts,
    image_pqs: Sequence[float | None],
    promised: Mapping[str, Mapping[str, Any]] | None,
) -> GradeCalibration:
    known = [pq for pq in image_pqs if pq is not None]
    of_grade = {"pq": EXPECTED_PQ[grade]} if promised is None else promised.get(grade, {})
    return GradeCalibration(
        grade=grade,
        num_images=len(image_pqs),
        quality=summarise(counts, {"all": counts.per_category})["all"],
        expected_pq=of_grade.get("pq"),
        image_pq=sum(known) / len(known) if known else None,
        expected_image_pq=of_grade.get("image_pq"),
    )


def _compared(measured: float | None, expected: float | None) -> list[str]:
    """Both and their difference, x 100."""
    texts = [percent(measured), percent(expected)]
    if measured is None or expected is None:
        return [*texts, "-"]
    return [*texts, f"{100 * (measured - expected):+.1f}"]


def _by_name(images: Sequence[TrueImage]) -> dict[str, TrueImage]:
    by_name = {PurePosixPath(image.file_name).name: image for image in images}
    if len(by_name) < len(images):
        raise GroundTruthError("expected ground truth with a file name for each image, got twins")
    return by_name


def _read_rows(run: RunFolder) -> Iterator[Row]:
    for committed in read_machine_rows(run):
        yield from to_rows(committed.rows)


def _compare(image: TrueImage, row: Row, names: Mapping[int, str]) -> PanopticQualityCounts:
    annotation = read_annotation(image)
    image_hw = annotation.ids.shape
    if not is_labelled(row):
        nothing = PanopticAnnotation(ids=np.zeros(image_hw, np.int32), category_ids={})
        return count_matches(annotation, nothing)
    if image_hw != (row["height"], row["width"]):
        raise GroundTruthError(
            f"expected labels of {image_hw[1]} x {image_hw[0]} pixels for {image.file_name}, got"
            f" {row['width']} x {row['height']}; use ground truth of the same images"
        )
    for segment in row["segments_info"]:
        if names.get(segment["category_id"]) != segment["category_name"]:
            raise GroundTruthError(
                f"expected classes of the ground truth, but {image.file_name} has"
                f" {segment['category_name']!r} as category {segment['category_id']}; label with"
                " the vocabulary of the ground truth"
            )
    category_ids = {s["id"]: s["category_id"] for s in row["segments_info"]}
    return count_matches(annotation, PanopticAnnotation(ids=id_map(row), category_ids=category_ids))
