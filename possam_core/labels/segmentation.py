"""A panoptic result: one map of ids, and what each id is.

Axes: H W pixels of the image.
"""

from dataclasses import dataclass

from jaxtyping import Int32
from numpy import ndarray

from possam_core.errors import PossamError
from possam_core.labels.masks import VOID_ID, present_ids


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticSegmentation:
    """Every pixel of one image belongs to one segment or to void.

    Example:
        >>> import numpy as np
        >>> from possam_core import PanopticSegmentation
        >>> void = PanopticSegmentation(ids=np.zeros((2, 3), np.int32), segments=())
        >>> void.image_hw
        (2, 3)
    """

    ids: Int32[ndarray, "H W"]  # segment id of each pixel; 0 is void
    segments: tuple[Segment, ...]
    expected: Expectation | None = None  # None: the model is not calibrated, or a person labelled

    def __post_init__(self) -> None:
        ids = [s.id for s in self.segments]
        if len(set(ids)) != len(ids) or min(ids, default=1) <= VOID_ID:
            raise PossamError(f"segment ids must be unique and positive, got {ids}")
        stuff = [s.class_index for s in self.segments if not s.is_thing]
        if len(set(stuff)) != len(stuff):
            raise PossamError(f"stuff of one class must be one segment, got classes {stuff}")
        present = present_ids(self.ids) - {VOID_ID}
        if present != set(ids):
            raise PossamError(f"the map holds ids {sorted(present)}, the segments {sorted(ids)}")

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.ids.shape
        return height, width
