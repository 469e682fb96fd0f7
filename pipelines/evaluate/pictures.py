"""Ground truth and prediction of one image as layers over its photograph.

Axes: H W pixels of the image.
"""

from collections.abc import Mapping

from jaxtyping import UInt8
from numpy import ndarray

from pipelines.report.picture import LabelLayer, Picture, draw_picture
from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.labels.masks import areas_and_boxes
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.vocabulary.vocabulary import Vocabulary


def draw_beside_truth(
    pixels: UInt8[ndarray, "H W 3"],
    truth: PanopticAnnotation,
    prediction: PanopticSegmentation,
    vocabulary: Vocabulary,
) -> Picture:
    """The picture of one image, with the truth as first layer and the prediction as second."""
    scores = {s.id: s.score for s in prediction.segments}
    categories = {s.id: s.category_id for s in prediction.segments}
    predicted = PanopticAnnotation(ids=prediction.ids, category_ids=categories)
    layers = [truth_layer(truth, vocabulary), _layer(predicted, scores, vocabulary)]
    return draw_picture(pixels, layers)


def truth_layer(truth: PanopticAnnotation, vocabulary: Vocabulary) -> LabelLayer:
    """The truth as a layer of a picture."""
    return _layer(truth, {}, vocabulary)


def _layer(
    annotation: PanopticAnnotation, scores: Mapping[int, float], vocabulary: Vocabulary
) -> LabelLayer:
    """The labels as a layer of a picture; true segments have score 1."""
    classes = {c.category_id: c for c in vocabulary.classes}
    geometry = areas_and_boxes(annotation.ids)
    return LabelLayer(
        ids=annotation.ids,
        segments=[
            {
                "id": i,
                "category_id": category_id,
                "category_name": classes[category_id].name,
                "isthing": classes[category_id].is_thing,
                "area": geometry[i].area_px,
                "score": scores.get(i, 1.0),
            }
            for i, category_id in annotation.category_ids.items()
            if i in geometry
        ],
    )
