"""The counts of one row of a run, compared with the truth.

Axes: H W pixels of the image.
"""

import numpy as np

from pipelines.run.id_map import id_map
from pipelines.schema import Row, is_labelled
from possam_core.evaluation.confusion import count_segment_pairs
from possam_core.evaluation.measurement import ImageResult, Measurement, image_pq
from possam_core.evaluation.panoptic_quality import (
    PanopticAnnotation,
    count_segments,
    overlap_segments,
)
from possam_core.evaluation.reliability import (
    CLASS_SCORE,
    Reliability,
    measure_segment_claims,
)


def measure_row(row: Row, truth: PanopticAnnotation, *, index: int, name: str) -> Measurement:
    """The counts of a row; of an image without labels every true segment is missed.

    A row has no instances and no class for each pixel, so there are no counts of them.

    Args:
        row: of the run.
        truth: of the same size, with the run's category ids.
        index: unique among images that are merged.
        name: shown in reports.

    Raises:
        ConfigError: the labels are damaged.
    """
    predicted = row_annotation(row) or PanopticAnnotation(
        ids=np.zeros(truth.ids.shape, np.int32), category_ids={}
    )
    overlaps = overlap_segments(truth, predicted)
    counts = count_segments(overlaps)
    segments = row["segments_info"]
    grade = row["quality"]["grade"] if is_labelled(row) else None
    return Measurement(
        images=(
            ImageResult(
                index=index,
                name=name,
                pq=image_pq(counts),
                expected_pq=None,
                grade=grade,
                num_true=int(np.count_nonzero(~overlaps.is_crowd)),
                num_predicted=len(segments),
            ),
        ),
        segments=counts,
        by_grade={} if grade is None else {grade: counts},
        segment_pairs=count_segment_pairs(overlaps),
        reliability={
            CLASS_SCORE: Reliability(),
            **measure_segment_claims(
                overlaps,
                predicted_ious=[s["predicted_iou"] for s in segments],
                scores=[s["score"] for s in segments],
            ),
        },
    )


def row_annotation(row: Row) -> PanopticAnnotation | None:
    """The labels in the form that is compared with the truth; None: there are none.

    Raises:
        ConfigError: the labels are damaged.
    """
    if not is_labelled(row):
        return None
    category_ids = {s["id"]: s["category_id"] for s in row["segments_info"]}
    return PanopticAnnotation(ids=id_map(row), category_ids=category_ids)
