"""The page of a measured model."""

from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.evaluate.checkpoint import open_teacher, predict_images
from pipelines.evaluate.config import EvaluateConfig
from pipelines.evaluate.figures import ModelEvaluation
from pipelines.evaluate.page import EvaluationPage, PageContent
from pipelines.evaluate.pictures import draw_beside_truth
from pipelines.evaluate.record import to_record
from pipelines.train.data import open_images
from possam_core.evaluation.confusion import count_segment_pairs
from possam_core.evaluation.measurement import ImageResult, annotation
from possam_core.evaluation.panoptic_quality import overlap_segments


def write_model_page(
    page: EvaluationPage, evaluation: ModelEvaluation, config: EvaluateConfig
) -> str:
    """Write the page; return the address of the file to open.

    The worst images are read and labelled again, so that measuring need not keep any.
    """
    worst = evaluation.figures.worst_images(config.num_worst)
    return page.write(
        PageContent(
            title=f"{evaluation.model_name} on {evaluation.data_name}",
            record=to_record(evaluation),
            figures=evaluation.figures,
            worst=worst,
            pictures=_pictures(evaluation, config, worst),
        )
    )


def _pictures(
    evaluation: ModelEvaluation, config: EvaluateConfig, worst: Sequence[ImageResult]
) -> Iterator[dict[str, Any]]:
    """Photograph, truth and prediction of each of the worst images, and what went wrong."""
    if not worst:
        return
    images = open_images(config.data)
    teacher = open_teacher(config, images)
    for _, image, forms in predict_images(teacher, images, [i.index for i in worst]):
        truth, prediction = image.annotation(images.vocabulary), forms.panoptic
        pairs = count_segment_pairs(overlap_segments(truth, annotation(prediction)))
        picture = draw_beside_truth(image.pixels, truth, prediction, images.vocabulary)
        yield picture | {"mistakes": evaluation.figures.mistakes(pairs)}
