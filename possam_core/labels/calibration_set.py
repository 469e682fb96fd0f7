"""What a calibration was measured with, and whether other labels are like those.

A grade promises a quality that was measured: with one model, one vocabulary and one kind of
images. With other classes or on other images the same score means something else, and nobody knows
what. So a calibration keeps which vocabulary it is of, and of its images what the model made of
them: the mean and the deviation, over images, of a few measures.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, pstdev
from typing import Any

# A mean of other images is far if it is off by more than FAR deviations of the images that the
# calibration is of, and CHANCE standard errors of a difference of means: few images differ anyway.
FAR = 0.5
CHANCE = 3.0

MEASURES = ("mean_score", "coverage", "num_segments")
NEVER = "the model keeps no record of a calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean and standard deviation of one measure over images."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSet:
    """The vocabulary and the images with which a calibration was measured."""

    vocabulary: str  # its name, for people
    vocabulary_sha256: str
    num_images: int
    measures: Mapping[str, Spread]  # by the names of MEASURES, over those images

    @classmethod
    def of(
        cls, images: Sequence[Mapping[str, float]], *, vocabulary: str, vocabulary_sha256: str
    ) -> "CalibrationSet":
        """The set of these images, each with its MEASURES."""
        columns = {name: [image[name] for image in images] for name in MEASURES}
        return cls(
            vocabulary=vocabulary,
            vocabulary_sha256=vocabulary_sha256,
            num_images=len(images),
            measures={
                name: Spread(mean=fmean(values), deviation=pstdev(values))
                for name, values in columns.items()
            },
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "CalibrationSet":
        """The object that `to_json` returned.

        Raises:
            KeyError | TypeError | AttributeError: it is none.
        """
        spreads = {name: Spread(**spread) for name, spread in content["measures"].items()}
        found = cls(**{**content, "measures": spreads})
        numbers = [found.num_images, *(n for s in spreads.values() for n in (s.mean, s.deviation))]
        texts = (found.vocabulary, found.vocabulary_sha256)
        if not all(isinstance(text, str) for text in texts) or not all(map(_is_finite, numbers)):
            raise TypeError("its set of images is described by others than texts and numbers")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenImages:
    """What a model made of the images of a run so far."""

    num_images: int  # with labels
    means: Mapping[str, float]  # by the names of MEASURES


def other_vocabulary(
    calibrated: CalibrationSet | None, *, vocabulary: str, vocabulary_sha256: str
) -> str | None:
    """Why grades with this vocabulary promise nothing, whatever the images; None: they may."""
    if calibrated is None:
        return NEVER
    if calibrated.vocabulary_sha256 == vocabulary_sha256:
        return None
    other = "other classes" if vocabulary == calibrated.vocabulary else vocabulary
    return f"the model was calibrated with the classes of {calibrated.vocabulary}, not with {other}"


def other_images(calibrated: CalibrationSet, seen: SeenImages) -> str | None:
    """Why the images are of another kind than those of the calibration; None: they may be alike."""
    if not seen.num_images or not calibrated.num_images:
        return None
    error = math.sqrt(1 / seen.num_images + 1 / calibrated.num_images)
    far = [
        f"mean {_readable(name)} {seen.means[name]:.2f}, there {spread.mean:.2f}"
        for name, spread in calibrated.measures.items()
        if name in seen.means
        and abs(seen.means[name] - spread.mean) > spread.deviation * (FAR + CHANCE * error)
    ]
    if not far:
        return None
    return f"its images are unlike those that the model was calibrated with ({'; '.join(far)})"


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _readable(name: str) -> str:
    return name.removeprefix("mean_").removeprefix("num_").replace("_", " ")
