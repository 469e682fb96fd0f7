"""COCO average precision of instances, by hotcoco, from detections that merge.

Axes: H W pixels, T IoU thresholds, R recall thresholds, K categories, A ranges of area, M limits on
the number of detections.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from hotcoco import COCO, COCOeval
from hotcoco import mask as coco_mask
from jaxtyping import Float64
from numpy import ndarray

from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.labels.instances import Instance
from possam_core.labels.masks import areas_and_boxes
from possam_core.labels.rle import rle_counts

AREAS = ("all", "small", "medium", "large")  # COCO's: below 32^2 pixels, below 96^2, from there on
IOU_50, IOU_75 = 0, 5  # positions among 0.50, 0.55, ..., 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueInstance:
    """A true thing."""

    category_id: int
    rle: str  # COCO compressed counts
    area_px: int
    is_crowd: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A predicted thing."""

    category_id: int
    rle: str
    score: float  # orders detections


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInstances:
    """The things of one image."""

    index: int  # of the image, unique among those that are merged
    image_hw: tuple[int, int]
    truth: tuple[TrueInstance, ...]
    detections: tuple[Detection, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` turns them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ImageInstances":
        """Inverse of `to_json`."""
        height, width = content["image_hw"]
        return cls(
            index=content["index"],
            image_hw=(height, width),
            truth=tuple(TrueInstance(**record) for record in content["truth"]),
            detections=tuple(Detection(**record) for record in content["detections"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePrecision:
    """Means over IoU thresholds and categories with truth, in [0, 1]; None: no such truth."""

    ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None
    per_category: Mapping[int, float] = field(default_factory=dict)  # those with truth


def image_instances(
    index: int,
    ground_truth: PanopticAnnotation,
    instances: Iterable[Instance],
    thing_ids: frozenset[int],
) -> ImageInstances:
    """The things of image `index`, true and predicted; `thing_ids` are the categories of things."""
    height, width = ground_truth.ids.shape
    counts, geometry = rle_counts(ground_truth.ids), areas_and_boxes(ground_truth.ids)
    return ImageInstances(
        index=index,
        image_hw=(height, width),
        truth=tuple(
            TrueInstance(
                category_id=category_id,
                rle=counts[i],
                area_px=geometry[i].area_px,
                is_crowd=i in ground_truth.crowd_ids,
            )
            for i, category_id in ground_truth.category_ids.items()
            if category_id in thing_ids and i in counts
        ),
        detections=tuple(
            Detection(category_id=i.category_id, rle=i.rle, score=i.score) for i in instances
        ),
    )


def average_precision(
    images: Iterable[ImageInstances], category_ids: Sequence[int]
) -> AveragePrecision:
    """COCO's AP over `images`, in any order.

    Args:
        images: each once.
        category_ids: of things.
    """
    ordered = sorted(images, key=lambda image: image.index)
    truth, found = _as_coco(ordered, category_ids)
    evaluation = COCOeval(truth, found, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    assert evaluation.eval is not None
    # (T, R, K, A) of 100 detections an image
    precision: Float64[ndarray, "T R K A"] = evaluation.eval["precision"][..., -1]
    every = precision[..., AREAS.index("all")]  # (T, R, K)
    by_area = [_mean(precision[..., i]) for i in range(len(AREAS))]
    of_each = {int(c): _mean(every[..., i]) for i, c in enumerate(evaluation.params.catIds)}
    return AveragePrecision(
        ap=by_area[0],
        ap50=_mean(every[IOU_50]),
        ap75=_mean(every[IOU_75]),
        small=by_area[1],
        medium=by_area[2],
        large=by_area[3],
        per_category={c: value for c, value in of_each.items() if value is not None},
    )


def _as_coco(images: Sequence[ImageInstances], category_ids: Sequence[int]) -> tuple[COCO, COCO]:
    """Truth and detections in COCO's form."""
    true_records: list[dict[str, Any]] = []
    found_records: list[dict[str, Any]] = []
    for image in images:
        for true in image.truth:
            record = _record(image, true.category_id, true.rle, len(true_records))
            true_records.append(record | {"area": true.area_px, "iscrowd": int(true.is_crowd)})
        for guess in image.detections:
            record = _record(image, guess.category_id, guess.rle, len(found_records))
            area_px = float(coco_mask.area(record["segmentation"]))
            found_records.append(record | {"area": area_px, "score": guess.score})
    shared = {
        "images": [
            {"id": image.index, "height": image.image_hw[0], "width": image.image_hw[1]}
            for image in images
        ],
        "categories": [{"id": i, "name": str(i)} for i in sorted(category_ids)],
    }
    return (
        COCO(shared | {"annotations": true_records}),
        COCO(shared | {"annotations": found_records}),
    )


def _record(image: ImageInstances, category_id: int, rle: str, number: int) -> dict[str, Any]:
    return {
        "id": number + 1,  # 0 would read as "no match"
        "image_id": image.index,
        "category_id": category_id,
        "segmentation": {"size": list(image.image_hw), "counts": rle},
    }


def _mean(precision: Float64[ndarray, "..."]) -> float | None:
    """Of the entries that have truth; the others are marked by -1."""
    known = precision[precision > -1]
    return float(np.mean(known)) if known.size else None
