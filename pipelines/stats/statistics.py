"""Statistics in whole numbers: those of the parts of a run add up to those of the whole.

Everything is a count, or a sum of values that were rounded to a fixed step first, so the result of
`+` does not depend on the order of the parts; only means and quantiles are floats.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from pipelines.run.grading import CORRECTED, UNCALIBRATED
from pipelines.stats.histogram import Histogram

SIZES = ("small", "medium", "large")  # COCO's: below 32 x 32 pixels, below 96 x 96, from there on
NUM_SCORE_BANDS = 10  # equal parts of [0, 1]

SEGMENT_MEASURES = ("score", "predicted_iou", "margin", "stability_score", "entropy")
IMAGE_MEASURES = (
    "coverage",
    "mean_score",
    "min_score",
    "mean_predicted_iou",
    "entropy",
    "clip_agreement",
    "boundary_sharpness",
    "consistency",  # of the images that were sampled for it
)


class Addable(Protocol):
    """A type with `+`."""

    def __add__(self, other: Any) -> Any: ...


Key = TypeVar("Key")
Value = TypeVar("Value", bound=Addable)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SegmentClass:
    """A class as named in the rows."""

    id: int
    name: str
    is_thing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFigures:
    """Sums over some segments."""

    num_segments: int = 0
    area_px: int = 0
    num_seen: int = 0  # of classes that were in the training vocabulary
    num_seen_known: int = 0  # of classes of which that is known
    num_clip_agrees: int = 0  # for which LDP and CLIP predict the same class
    num_clip_known: int = 0  # for which it is known what CLIP predicts
    measures: Mapping[str, Histogram] = field(default_factory=dict)  # of SEGMENT_MEASURES

    def __add__(self, other: "SegmentFigures") -> "SegmentFigures":
        return SegmentFigures(
            num_segments=self.num_segments + other.num_segments,
            area_px=self.area_px + other.area_px,
            num_seen=self.num_seen + other.num_seen,
            num_seen_known=self.num_seen_known + other.num_seen_known,
            num_clip_agrees=self.num_clip_agrees + other.num_clip_agrees,
            num_clip_known=self.num_clip_known + other.num_clip_known,
            measures=merged(self.measures, other.measures),
        )

    @property
    def seen_share(self) -> float | None:
        """Share of the segments whose class was trained on; None: it is not known of any."""
        return self.num_seen / self.num_seen_known if self.num_seen_known else None

    @property
    def clip_agreement(self) -> float | None:
        """Share of the segments whose class CLIP predicts, too; None: it is not known of any."""
        return self.num_clip_agrees / self.num_clip_known if self.num_clip_known else None

    def num_unknown(self) -> dict[str, int]:
        """How many segments lack each measure, `is_seen` and `clip_agrees`."""
        known = {name: histogram.num_values for name, histogram in self.measures.items()}
        known |= {"clip_agrees": self.num_clip_known, "is_seen": self.num_seen_known}
        return {name: self.num_segments - number for name, number in known.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "num_segments": self.num_segments,
            "area_px": self.area_px,
            "num_seen": self.num_seen,
            "num_seen_known": self.num_seen_known,
            "num_clip_agrees": self.num_clip_agrees,
            "num_clip_known": self.num_clip_known,
            "measures": {name: h.to_json() for name, h in sorted(self.measures.items())},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "SegmentFigures":
        """The object that `to_json` returned."""
        return cls(
            num_segments=content["num_segments"],
            area_px=content["area_px"],
            num_seen=content["num_seen"],
            num_seen_known=content["num_seen_known"],
            num_clip_agrees=content["num_clip_agrees"],
            num_clip_known=content["num_clip_known"],
            measures={n: Histogram.from_json(h) for n, h in content["measures"].items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Statistics of some rows, one an image; `+` gives the statistics of both sets of rows.

    Example:
        >>> from pipelines import run_statistics
        >>> found = run_statistics("run")
        >>> (found + found).num_images
        10
    """

    num_images: int = 0
    num_ok: int = 0
    num_corrected: int = 0  # of those, labelled by annotators
    errors: Mapping[str, int] = field(default_factory=dict)  # code -> images
    grades: Mapping[str, int] = field(default_factory=dict)  # A-D or uncalibrated -> images
    reasons: Mapping[tuple[str, str], int] = field(default_factory=dict)  # grade, reason -> images
    images: Mapping[str, Histogram] = field(default_factory=dict)  # of IMAGE_MEASURES
    segments: Mapping[tuple[SegmentClass, str], SegmentFigures] = field(default_factory=dict)
    score_bands: Mapping[int, SegmentFigures] = field(default_factory=dict)
    pairs: Mapping[tuple[str, str], int] = field(default_factory=dict)  # names -> images with both

    def __add__(self, other: "Statistics") -> "Statistics":
        return Statistics(
            num_images=self.num_images + other.num_images,
            num_ok=self.num_ok + other.num_ok,
            num_corrected=self.num_corrected + other.num_corrected,
            errors=merged(self.errors, other.errors),
            grades=merged(self.grades, other.grades),
            reasons=merged(self.reasons, other.reasons),
            images=merged(self.images, other.images),
            segments=merged(self.segments, other.segments),
            score_bands=merged(self.score_bands, other.score_bands),
            pairs=merged(self.pairs, other.pairs),
        )

    def without_grades(self) -> "Statistics":
        """The same where the grades of the model promise nothing; those of annotators stay."""
        kept = {
            grade: sum(
                n for (of, reason), n in self.reasons.items() if (of, reason) == (grade, CORRECTED)
            )
            for grade in self.grades
        }
        grades = Counter({grade: number for grade, number in kept.items() if number})
        grades[UNCALIBRATED] = sum(self.grades.values()) - grades.total()
        reasons = Counter[tuple[str, str]]()
        for (grade, reason), number in self.reasons.items():
            shown = grade if reason == CORRECTED else UNCALIBRATED
            reasons[shown, reason] += number
        return replace(self, grades=dict(+grades), reasons=dict(reasons))

    @property
    def num_segments(self) -> int:
        """The number of segments of all images."""
        return sum(figures.num_segments for figures in self.segments.values())

    def by_class(self) -> dict[SegmentClass, SegmentFigures]:
        """The segments of each class that occurs, of all sizes, by category id."""
        groups: dict[SegmentClass, SegmentFigures] = {}
        for (segment_class, _), figures in self.segments.items():
            groups[segment_class] = groups.get(segment_class, SegmentFigures()) + figures
        return {segment_class: groups[segment_class] for segment_class in sorted(groups)}

    def by_size(self) -> dict[str, SegmentFigures]:
        """The segments of each of `SIZES` that occurs, of all classes."""
        groups: dict[str, SegmentFigures] = {}
        for (_, size), figures in self.segments.items():
            groups[size] = groups.get(size, SegmentFigures()) + figures
        return {size: groups[size] for size in SIZES if size in groups}

    def all_segments(self) -> SegmentFigures:
        """The figures of all segments."""
        return sum(self.segments.values(), SegmentFigures())

    def num_images_with(self, class_name: str) -> int:
        """The number of images with a class."""
        return self.pairs.get((class_name, class_name), 0)

    def to_json(self) -> dict[str, Any]:
        """Plain data, in an order that depends on the content alone."""
        return {
            "num_images": self.num_images,
            "num_ok": self.num_ok,
            "num_corrected": self.num_corrected,
            "errors": dict(sorted(self.errors.items())),
            "grades": dict(sorted(self.grades.items())),
            "reasons": [[*key, number] for key, number in sorted(self.reasons.items())],
            "images": {name: h.to_json() for name, h in sorted(self.images.items())},
            "segments": [
                {"category_id": c.id, "category_name": c.name, "isthing": c.is_thing, "size": size}
                | figures.to_json()
                for (c, size), figures in sorted(self.segments.items(), key=lambda item: item[0])
            ],
            "score_bands": {str(b): f.to_json() for b, f in sorted(self.score_bands.items())},
            "pairs": [[*key, number] for key, number in sorted(self.pairs.items())],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Statistics":
        """The object that `to_json` returned."""
        segments = {}
        for entry in content["segments"]:
            key = SegmentClass(
                id=entry["category_id"], name=entry["category_name"], is_thing=entry["isthing"]
            )
            segments[key, entry["size"]] = SegmentFigures.from_json(entry)
        return cls(
            num_images=content["num_images"],
            num_ok=content["num_ok"],
            num_corrected=content["num_corrected"],
            errors=dict(content["errors"]),
            grades=dict(content["grades"]),
            reasons={(grade, reason): n for grade, reason, n in content["reasons"]},
            images={name: Histogram.from_json(h) for name, h in content["images"].items()},
            segments=segments,
            score_bands={
                int(b): SegmentFigures.from_json(f) for b, f in content["score_bands"].items()
            },
            pairs={(first, second): n for first, second, n in content["pairs"]},
        )


def merged(one: Mapping[Key, Value], other: Mapping[Key, Value]) -> dict[Key, Value]:
    """The sums of the keys in both mappings, and all other entries of each."""
    both = dict(one)
    for key, value in other.items():
        both[key] = both[key] + value if key in both else value
    return both
