"""A panoptic result: one map of ids, and what each id is.

Axes: H W pixels of the image.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32
from numpy import ndarray

from possam_core.errors import PossamError
from possam_core.labels.masks import VOID_ID, present_ids
from possam_core.labels.pixel_runs import PixelRuns


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One thing instance, or all the stuff of one class.

    Example:
        >>> from possam_core import load_predictor
        >>> from possam_core.playground import generate_scene
        >>> scene = generate_scene(seed=1, index=0)
        >>> (segmentation,) = load_predictor("possam-tiny")([scene.image])
        >>> segment = segmentation.segments[0]
        >>> segment.area_px == int((segmentation.ids == segment.id).sum())
        True
    """

    id: int  # value in `PanopticSegmentation.ids`; positive and unique within the image
    class_index: int  # position in the vocabulary
    category_id: int  # id in the data set
    category_name: str
    is_thing: bool
    area_px: int
    bbox_xywh: tuple[int, int, int, int]  # in pixels; x y of the top-left pixel
    score: float  # predicted IoU^eta times class probability after void, or calibrated, in [0, 1]
    # None below: the model does not know it.
    predicted_iou: float | None  # the model's estimate for the mask, or calibrated, in [0, 1]
    margin: float | None  # best minus second-best class probability, in [0, 1]
    stability_score: float | None  # IoU of the mask cut a little higher and lower, in [0, 1]
    entropy: float | None  # of the class probabilities, over ln(number of classes), in [0, 1]
    clip_agrees: bool | None  # the trained classifier and frozen CLIP name the same class
    is_seen: bool | None  # a name of the class was in the training vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """How good a calibrated model expects its labels of one image to be."""

    pq: float  # panoptic quality of the image, in [0, 1]
    low: tuple[str, ...]  # measures below what the model usually has, or else the lowest


class PanopticSegmentation:
    """Every pixel of one image belongs to one segment or to void.

    Example:
        >>> import numpy as np
        >>> from possam_core import PanopticSegmentation
        >>> void = PanopticSegmentation(ids=np.zeros((2, 3), np.int32), segments=())
        >>> void.image_hw
        (2, 3)
    """

    __slots__ = ("_expected", "_ids", "_runs", "_segments")

    def __init__(
        self,
        *,
        ids: Int32[ndarray, "H W"],
        segments: tuple[Segment, ...],
        expected: Expectation | None = None,
    ) -> None:
        """Labels by the segment of each pixel.

        Args:
            ids: segment id of each pixel; 0 is void.
            segments: all of those.
            expected: quality of the labels; None: the model is not calibrated, or a person
                labelled.

        Raises:
            PossamError: ids are not unique and positive, stuff of a class is more than one segment,
                or the map holds other ids than the segments.
        """
        _check_segments(segments)
        present = present_ids(ids) - {VOID_ID}
        if present != (found := {s.id for s in segments}):
            raise PossamError(f"the map holds ids {sorted(present)}, the segments {sorted(found)}")
        self._ids: Int32[ndarray, "H W"] | None = ids
        self._runs: PixelRuns | None = None
        self._segments, self._expected = segments, expected

    @classmethod
    def of_runs(
        cls,
        runs: PixelRuns,
        segments: tuple[Segment, ...],
        expected: Expectation | None = None,
    ) -> "PanopticSegmentation":
        """Labels by the runs of each segment; their map is painted only for who asks for it.

        Args:
            runs: whose owners are positions in `segments`.
            segments: all of them have pixels.
            expected: as above.

        Raises:
            PossamError: as above.
        """
        _check_segments(segments)
        has_runs = np.bincount(runs.owners, minlength=len(segments)) > 0
        if len(has_runs) > len(segments) or not has_runs.all():
            raise PossamError("expected runs of every segment and of no other")
        made = cls.__new__(cls)
        made._ids, made._runs = None, runs
        made._segments, made._expected = segments, expected
        return made

    def __eq__(self, other: object) -> bool:
        """Whether all pixels, figures and expectations are the same."""
        if not isinstance(other, PanopticSegmentation):
            return NotImplemented
        is_same = (self.segments, self.expected) == (other.segments, other.expected)
        return is_same and np.array_equal(self.ids, other.ids)

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    def __repr__(self) -> str:
        return f"PanopticSegmentation(image_hw={self.image_hw}, segments={self.segments})"

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What each id is."""
        return self._segments

    @property
    def expected(self) -> Expectation | None:
        """How good the labels are expected to be; None: not known."""
        return self._expected

    @property
    def ids(self) -> Int32[ndarray, "H W"]:
        """Segment id of each pixel; 0 is void."""
        if self._ids is None:
            assert self._runs is not None
            painted = self._runs.paint([s.id for s in self.segments], void=VOID_ID)
            self._ids = painted.astype(np.int32)
        return self._ids

    @property
    def runs(self) -> PixelRuns:
        """The runs of each segment, by its position in `segments`."""
        if self._runs is None:
            self._runs = PixelRuns.of_map(self.ids, [s.id for s in self.segments])
        return self._runs

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        if self._runs is not None:
            return self._runs.image_hw
        height, width = self.ids.shape
        return height, width

    def with_figures(
        self, segments: tuple[Segment, ...], expected: Expectation | None
    ) -> "PanopticSegmentation":
        """The same pixels, with other figures of the same segments."""
        made = PanopticSegmentation.of_runs(self.runs, segments, expected)
        made._ids = self._ids
        return made


def _check_segments(segments: tuple[Segment, ...]) -> None:
    ids = [s.id for s in segments]
    if len(set(ids)) != len(ids) or min(ids, default=1) <= VOID_ID:
        raise PossamError(f"segment ids must be unique and positive, got {ids}")
    stuff = [s.class_index for s in segments if not s.is_thing]
    if len(set(stuff)) != len(stuff):
        raise PossamError(f"stuff of one class must be one segment, got classes {stuff}")
