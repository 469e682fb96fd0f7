"""The page of a measured model: a folder of static files that opens from disk."""

from collections.abc import Iterator
from importlib import resources
from typing import Any

from pipelines.evaluate.checkpoint import open_teacher, predict_images
from pipelines.evaluate.config import EvaluateConfig
from pipelines.evaluate.figures import ModelEvaluation
from pipelines.evaluate.pictures import draw_beside_truth
from pipelines.evaluate.record import to_record
from pipelines.evaluate.tables import CLAIM_NAMES
from pipelines.report.static_folder import (
    HEAD,
    PAGE_SIZE,
    START,
    StaticFolder,
    page_key,
    script_json,
)
from pipelines.train.data import open_images
from possam_core.evaluation.confusion import count_segment_pairs
from possam_core.evaluation.measurement import ImageResult, annotation
from possam_core.evaluation.panoptic_quality import overlap_segments

VIEWER_FILES = (
    "viewer.css",
    "columns.js",
)  # of the report: its style, and functions that create elements
VIEWER = resources.files("pipelines.report") / "static"
OWN = resources.files(__package__) / "static"
OWN_FILES = ("evaluation.css", "figures.js", "charts.js", "worst.js", "evaluation.js")


class EvaluationPage:
    """The page's folder, opened early so that a mistake in its address shows before measuring."""

    def __init__(self, location: str) -> None:
        """Open or create the folder, local or `s3://`.

        Raises:
            ConfigError: it cannot be written, or holds a run or another page.
        """
        self._folder = StaticFolder(location, flag="--report")

    def write(self, evaluation: ModelEvaluation, config: EvaluateConfig) -> str:
        """Write the page; return the address of the file to open.

        The worst images are read and labelled again, so that measuring need not keep any.
        """
        worst = evaluation.worst_images(config.num_worst)
        content = _content(evaluation, worst)
        self._folder.put(HEAD, b"possam.evaluation(%s);\n" % script_json(content))
        pictures = list(_pictures(evaluation, config, worst))
        pages = range(0, len(pictures), PAGE_SIZE)
        for number, first in enumerate(pages):
            page = script_json(pictures[first : first + PAGE_SIZE])
            self._folder.put(page_key(number), b"possam.pictures(%d,%s);\n" % (first, page))
        self._folder.put_scripts(
            *(VIEWER / name for name in VIEWER_FILES), *(OWN / name for name in OWN_FILES)
        )
        links = "\n".join(
            f'<script defer src="{page_key(number)}?v={self._folder.version}"></script>'
            for number in range(len(pages))
        )
        return self._folder.finish(OWN / START, title=str(content["title"]), pages=links)


def _content(evaluation: ModelEvaluation, worst: list[ImageResult]) -> dict[str, Any]:
    """The content of the page without the pictures."""
    record = to_record(evaluation)
    del record["images"]  # only the worst are shown
    return record | {
        "title": f"{evaluation.model_name} on {evaluation.data_name}",
        "claims": CLAIM_NAMES,
        "mistakes": evaluation.mistakes(evaluation.measurement.segment_pairs),
        "worst": [
            {"name": i.name, "pq": i.pq, "grade": i.grade, "expected_pq": i.expected_pq}
            for i in worst
        ],
    }


def _pictures(
    evaluation: ModelEvaluation, config: EvaluateConfig, worst: list[ImageResult]
) -> Iterator[dict[str, Any]]:
    """Photograph, truth and prediction of each of the worst images, and what went wrong."""
    if not worst:
        return
    images = open_images(config.data)
    predictor = open_teacher(config, images)
    for _, image, forms in predict_images(predictor, images, [i.index for i in worst]):
        truth, prediction = image.annotation(images.vocabulary), forms.panoptic
        pairs = count_segment_pairs(overlap_segments(truth, annotation(prediction)))
        picture = draw_beside_truth(image.pixels, truth, prediction, images.vocabulary)
        yield picture | {"mistakes": evaluation.mistakes(pairs)}
