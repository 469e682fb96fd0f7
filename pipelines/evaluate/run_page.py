"""The page of a measured run."""

from collections.abc import Sequence
from typing import Any

from pipelines.evaluate.config import EvaluateRunConfig
from pipelines.evaluate.page import EvaluationPage, PageContent
from pipelines.evaluate.pictures import truth_layer
from pipelines.evaluate.run import EvaluationReport
from pipelines.evaluate.run_measurement import measure_row
from pipelines.evaluate.truth import RunTruth
from pipelines.report.photographs import Photographs
from pipelines.report.picture import Subject, draw_pictures
from pipelines.run.committed import open_committed, read_machine_rows
from pipelines.run.parts import read_shard
from pipelines.schema import Row, is_labelled, to_rows
from possam_core.evaluation.measurement import ImageResult
from possam_core.evaluation.panoptic_quality import PanopticAnnotation


def write_run_page(
    page: EvaluationPage, report: EvaluationReport, config: EvaluateRunConfig
) -> str:
    """Write the page; return the address of the file to open.

    Labels, truth and photographs of the worst images are read again. A photograph that cannot be
    read is left out; its labels are shown.
    """
    worst = report.figures.worst_images(config.num_worst)
    truth_name = report.ground_truth.rpartition("/")[2]
    return page.write(
        PageContent(
            title=f"{report.run.rstrip('/').rpartition('/')[2]} against {truth_name}",
            record=report.to_json(),
            figures=report.figures,
            worst=worst,
            pictures=_Worst(report, config, worst).pictures(),
        )
    )


class _Worst:
    """Draws the worst images of a run."""

    def __init__(
        self, report: EvaluationReport, config: EvaluateRunConfig, worst: Sequence[ImageResult]
    ) -> None:
        self._report, self._config = report, config
        self._folder = open_committed(report.run)
        self._places = {report.image_ids[image.index]: i for i, image in enumerate(worst)}

    def pictures(self) -> list[dict[str, Any]]:
        """Photograph, truth and labels of each image, and what went wrong."""
        if not self._places:
            return []
        truth = RunTruth(self._folder, location=self._report.ground_truth, masks=self._config.masks)
        photographs = Photographs(self._config.allowed_hosts)
        drawn: dict[int, dict[str, Any]] = {}
        for committed in read_machine_rows(self._folder):
            rows = [r for r in to_rows(committed.rows) if r["image_id"] in self._places]
            pairs = list(truth.read_all(rows))
            subjects = self._subjects(committed.shard, pairs)
            mistakes = {self._place(row): self._mistakes(row, true) for row, true in pairs}
            for place, picture in draw_pictures(subjects, photographs):
                drawn[place] = picture | {"mistakes": mistakes[place]}
        return [picture for _, picture in sorted(drawn.items())]

    def _subjects(
        self, shard: int, pairs: Sequence[tuple[Row, PanopticAnnotation]]
    ) -> list[Subject]:
        if not pairs:
            return []
        planned = {image.image_id: image for image in read_shard(self._folder, shard)}
        vocabulary = self._report.figures.vocabulary
        return [
            Subject(
                place=self._place(row),
                image=planned[row["image_id"]],
                layers=[truth_layer(true, vocabulary), row if is_labelled(row) else None],
            )
            for row, true in pairs
        ]

    def _place(self, row: Row) -> int:
        return self._places[row["image_id"]]

    def _mistakes(
        self, row: Row, true: PanopticAnnotation
    ) -> list[tuple[str | None, str | None, int]]:
        measured = measure_row(row, true, index=0, name="")
        return self._report.figures.mistakes(measured.segment_pairs)
