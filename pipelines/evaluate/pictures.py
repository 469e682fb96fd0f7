"""Truth and prediction of one image as layers over its photograph.

Axes: H W pixels of the image.
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray

from pipelines.report.picture import Picture, draw_picture
from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.labels.masks import areas_and_boxes
from possam_core.labels.panoptic import PanopticSegmentation
from possam_core.labels.rle import rle_counts
from possam_core.vocabulary.vocabulary import Vocabulary

Row = dict[str, Any]


def draw_beside_truth(
    pixels: UInt8[ndarray, "H W 3"],
    truth: PanopticAnnotation,
    prediction: PanopticSegmentation,
    vocabulary: Vocabulary,
) -> Picture:
    """The picture of one image, whose first layer is the truth and whose second the prediction."""
    scores = {s.id: s.score for s in prediction.segments}
    categories = {s.id: s.category_id for s in prediction.segments}
    predicted = PanopticAnnotation(ids=prediction.ids, category_ids=categories)
    rows = [_row(truth, {}, vocabulary), _row(predicted, scores, vocabulary)]
    return draw_picture(pixels, rows)


def _row(
    annotation: PanopticAnnotation, scores: Mapping[int, float], vocabulary: Vocabulary
) -> Row:
    """As much of a run's row as a picture needs; true segments are sure of themselves."""
    classes = {c.category_id: c for c in vocabulary.classes}
    counts, geometry = rle_counts(annotation.ids), areas_and_boxes(annotation.ids)
    height, width = annotation.ids.shape
    return {
        "width": width,
        "height": height,
        "segments_info": [
            {
                "id": i,
                "category_id": category_id,
                "category_name": classes[category_id].name,
                "isthing": classes[category_id].is_thing,
                "area": geometry[i].area_px,
                "score": scores.get(i, 1.0),
                "segmentation": {"size": [height, width], "counts": counts[i]},
            }
            for i, category_id in annotation.category_ids.items()
            if i in counts
        ],
    }
