"""All figures of measured labels: a model's on a data set, or a run's."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pipelines.train.config import DataConfig
from possam_core.evaluation.average_precision import AveragePrecision, average_precision
from possam_core.evaluation.confusion import PairCounts
from possam_core.evaluation.measurement import ImageResult, Measurement, mean_image_pq
from possam_core.evaluation.panoptic_quality import (
    CategoryCounts,
    PanopticQuality,
    TrueCategory,
    category_groups,
    summarise,
    vocabulary_categories,
)
from possam_core.evaluation.semantic_quality import category_ious, mean_ious
from possam_core.labels.calibration import CalibrationConfig
from possam_core.labels.quality import GRADES
from possam_core.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """The figures of one class; None where the ground truth has no such segment."""

    category: TrueCategory
    counts: CategoryCounts
    quality: PanopticQuality
    iou: float | None  # of the semantic labels
    ap: float | None  # for things


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeFigures:
    """The figures of the images of one grade."""

    grade: str
    num_images: int
    quality: PanopticQuality  # of all of them together
    image_pq: float | None  # mean over images of their own PQ
    expected_pq: float | None  # mean of what the model expected, where it is calibrated


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of labels in the classes of a vocabulary."""

    vocabulary: Vocabulary
    is_seen: Sequence[bool | None]  # per class: in the training vocabulary; None: unknown
    measurement: Measurement

    @cached_property
    def categories(self) -> tuple[TrueCategory, ...]:
        """The classes of the data, and whether they are in the training vocabulary."""
        return vocabulary_categories(self.vocabulary, self.is_seen)

    @cached_property
    def quality(self) -> dict[str, PanopticQuality]:
        """PQ, SQ and RQ of all, things, stuff and, if both exist, seen and unseen classes."""
        return summarise(self.measurement.segments, category_groups(self.categories))

    @cached_property
    def mean_ious(self) -> dict[str, float | None]:
        """mIoU of the same groups; None for labels without a class for every pixel."""
        return mean_ious(self.measurement.pixel_pairs, category_groups(self.categories))

    @cached_property
    def average_precision(self) -> AveragePrecision:
        """Average precision of things; None in it for labels without scored instances."""
        things = [c.id for c in self.categories if c.is_thing]
        return average_precision(self.measurement.instances, things)

    @cached_property
    def classes(self) -> list[ClassFigures]:
        """Each class of the vocabulary, in its order."""
        counts = self.measurement.segments
        quality = summarise(counts, {str(c.id): [c.id] for c in self.categories})
        ious = category_ious(self.measurement.pixel_pairs)
        return [
            ClassFigures(
                category=c,
                counts=counts.per_category.get(c.id, CategoryCounts()),
                quality=quality[str(c.id)],
                iou=ious.get(c.id),
                ap=self.average_precision.per_category.get(c.id),
            )
            for c in self.categories
        ]

    def worst_images(self, number: int) -> list[ImageResult]:
        """The images with the lowest PQ, the worst first."""
        known = [i for i in self.measurement.images if i.pq is not None]
        return sorted(known, key=lambda i: (i.pq, i.index))[:number]

    def name_of(self, category_id: int | None) -> str | None:
        """The name of a class; None for None."""
        return None if category_id is None else self._names[category_id]

    def mistakes(self, pairs: PairCounts) -> list[tuple[str | None, str | None, int]]:
        """True class, predicted class and count of each mistake, the most frequent first.

        Without a predicted class a segment is missed, without a true class it is invented.
        """
        found = [
            (self.name_of(true), self.name_of(guess), count)
            for (true, guess), count in pairs.counts.items()
            if true != guess
        ]
        return sorted(found, key=lambda m: (-m[2], m[0] or "", m[1] or ""))

    @cached_property
    def _names(self) -> dict[int, str]:
        return {c.id: c.name for c in self.categories}


@dataclass(frozen=True, kw_only=True)
class ModelEvaluation:
    """The figures of a model on a data set."""

    model: str
    fingerprint: str  # sha256 of the checkpoint file
    data: DataConfig
    calibration: CalibrationConfig
    uncalibrated: str | None  # why the grades promise nothing here; None: they do
    figures: Figures

    @property
    def model_name(self) -> str:
        """The model's name in titles."""
        return self.model.rpartition("/")[2]

    @property
    def data_name(self) -> str:
        """The data's name in titles."""
        data = self.data
        if data.source == "playground":
            return f"{data.world}, seed {data.scene_seed}"
        return str(data.annotations).rpartition("/")[2]

    @cached_property
    def grades(self) -> list[GradeFigures]:
        """The figures of each grade that occurs, from A to D."""
        found = []
        measurement = self.figures.measurement
        for grade in GRADES:
            images = [i for i in measurement.images if i.grade == grade]
            if not images:
                continue
            counts = measurement.by_grade[grade]
            expected = [i.expected_pq for i in images if i.expected_pq is not None]
            if self.uncalibrated is not None:
                expected = []  # nobody knows what to expect
            found.append(
                GradeFigures(
                    grade=grade,
                    num_images=len(images),
                    quality=summarise(counts, {"all": counts.per_category})["all"],
                    image_pq=mean_image_pq(images),
                    expected_pq=sum(expected) / len(expected) if expected else None,
                )
            )
        return found
