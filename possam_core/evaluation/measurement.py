"""Evaluation counts of one image, which add up to those of any number of images.

An image's `Measurement` depends on that image alone and survives JSON unchanged, so a data set may
be split among processes or machines in any way: the sums are the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from possam_core.evaluation.average_precision import ImageInstances, image_instances
from possam_core.evaluation.confusion import PairCounts, count_segment_pairs
from possam_core.evaluation.panoptic_quality import (
    CategoryCounts,
    PanopticAnnotation,
    PanopticQualityCounts,
    count_segments,
    overlap_segments,
    summarise,
)
from possam_core.evaluation.reliability import CLAIMS, Reliability, measure_reliability
from possam_core.evaluation.semantic_quality import count_pixels
from possam_core.labels.instances import ImageForms
from possam_core.labels.quality import grade
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """Scores of one image."""

    index: int  # in the data set
    name: str
    pq: float | None  # over the classes that occur in it, in [0, 1]; None: none, true or predicted
    expected_pq: float | None  # by the model's calibration
    grade: str | None  # None: there are no labels
    num_true: int  # segments, crowds left out
    num_predicted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Counts of some images; `+` merges those of different images."""

    images: tuple[ImageResult, ...] = ()
    segments: PanopticQualityCounts = field(default_factory=PanopticQualityCounts)
    by_grade: Mapping[str, PanopticQualityCounts] = field(default_factory=dict)
    segment_pairs: PairCounts = field(default_factory=PairCounts)
    pixel_pairs: PairCounts = field(default_factory=PairCounts)
    instances: tuple[ImageInstances, ...] = ()
    reliability: Mapping[str, Reliability] = field(
        default_factory=lambda: dict.fromkeys(CLAIMS, Reliability())
    )

    def __add__(self, other: "Measurement") -> "Measurement":
        nothing = PanopticQualityCounts()
        return Measurement(
            images=self.images + other.images,
            segments=self.segments + other.segments,
            by_grade={
                g: self.by_grade.get(g, nothing) + other.by_grade.get(g, nothing)
                for g in sorted({*self.by_grade, *other.by_grade})
            },
            segment_pairs=self.segment_pairs + other.segment_pairs,
            pixel_pairs=self.pixel_pairs + other.pixel_pairs,
            instances=self.instances + other.instances,
            reliability={c: self.reliability[c] + other.reliability[c] for c in CLAIMS},
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` turns them back."""
        return {
            "images": [asdict(image) for image in self.images],
            "segments": _counts_to_json(self.segments),
            "by_grade": {g: _counts_to_json(counts) for g, counts in self.by_grade.items()},
            "segment_pairs": self.segment_pairs.to_json(),
            "pixel_pairs": self.pixel_pairs.to_json(),
            "instances": [image.to_json() for image in self.instances],
            "reliability": {c: curve.to_json() for c, curve in self.reliability.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Measurement":
        """Inverse of `to_json`."""
        return cls(
            images=tuple(ImageResult(**record) for record in content["images"]),
            segments=_counts_from_json(content["segments"]),
            by_grade={g: _counts_from_json(r) for g, r in content["by_grade"].items()},
            segment_pairs=PairCounts.from_json(content["segment_pairs"]),
            pixel_pairs=PairCounts.from_json(content["pixel_pairs"]),
            instances=tuple(ImageInstances.from_json(r) for r in content["instances"]),
            reliability={c: Reliability.from_json(r) for c, r in content["reliability"].items()},
        )


def measure_image(
    forms: ImageForms,
    ground_truth: PanopticAnnotation,
    vocabulary: Vocabulary,
    *,
    index: int,
    name: str,
) -> Measurement:
    """The counts of a model's predictions for one image, compared with the truth.

    Args:
        forms: by the model, in classes of `vocabulary`.
        ground_truth: with the category ids of `vocabulary`.
        index: unique among images that are merged.
        name: shown in reports.

    Raises:
        PossamError: the two differ in size, or a map breaks the rules.
    """
    prediction = forms.panoptic
    overlaps = overlap_segments(ground_truth, annotation(prediction))
    counts = count_segments(overlaps)
    category_ids = np.array([c.category_id for c in vocabulary.classes], np.int32)
    thing_ids = frozenset(c.category_id for c in vocabulary.classes if c.is_thing)
    given = grade(prediction)[0]
    return Measurement(
        images=(
            ImageResult(
                index=index,
                name=name,
                pq=image_pq(counts),
                expected_pq=prediction.expected.pq if prediction.expected else None,
                grade=given,
                num_true=int(np.count_nonzero(~overlaps.is_crowd)),
                num_predicted=len(prediction.segments),
            ),
        ),
        segments=counts,
        by_grade={given: counts},
        segment_pairs=count_segment_pairs(overlaps),
        pixel_pairs=count_pixels(ground_truth, category_ids[forms.class_indices]),
        instances=(image_instances(index, ground_truth, forms.instances, thing_ids),),
        reliability=measure_reliability(overlaps, prediction, forms.class_scores),
    )


def annotation(prediction: PanopticSegmentation) -> PanopticAnnotation:
    """A prediction in the form that is compared with ground truth."""
    return PanopticAnnotation(
        ids=prediction.ids, category_ids={s.id: s.category_id for s in prediction.segments}
    )


def image_pq(counts: PanopticQualityCounts) -> float | None:
    """PQ over the classes of one image; None: it has no segment that counts, true or predicted."""
    quality = summarise(counts, {"all": counts.per_category})["all"]
    return quality.pq if quality.num_classes else None


def mean_image_pq(images: Sequence[ImageResult]) -> float | None:
    """Mean over images of their own PQ; None: none has one."""
    known = [image.pq for image in images if image.pq is not None]
    return sum(known) / len(known) if known else None


def _counts_to_json(counts: PanopticQualityCounts) -> list[list[float]]:
    return [[i, c.tp, c.fp, c.fn, c.iou_sum] for i, c in counts.per_category.items()]


def _counts_from_json(records: Sequence[Sequence[Any]]) -> PanopticQualityCounts:
    return PanopticQualityCounts(
        per_category={
            i: CategoryCounts(tp=tp, fp=fp, fn=fn, iou_sum=iou_sum)
            for i, tp, fp, fn, iou_sum in records
        }
    )
