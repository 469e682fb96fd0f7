"""One image -> one row; the rows of a shard -> the bytes of its file.

A row is a function of the image's bytes, the model and the settings: no time, host or attempt.
"""

import io
import re
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus.image import InputImage
from pipelines.run.folder import SCHEMA_VERSION
from pipelines.schema import ERROR, OK, ROW_SCHEMAS, QualityRecord, Row, SegmentInfo
from possam_core.errors import one_line
from possam_core.images.decode import DecodedImage, ImageError
from possam_core.labels.boundary import boundary_sharpness
from possam_core.labels.quality import Quality, assess
from possam_core.labels.rle import encode_runs
from possam_core.labels.segmentation import PanopticSegmentation

MAX_MESSAGE_CHARS = 500
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # memory addresses in other libraries' messages


def label_row(
    image: InputImage,
    decoded: DecodedImage,
    segmentation: PanopticSegmentation,
    *,
    consistency: float | None = None,
) -> Row:
    """The row of a labelled image.

    Args:
        image: as planned.
        decoded: its pixels.
        segmentation: of them.
        consistency: between the labels and those of changed copies; None: not measured.
    """
    height, width = segmentation.image_hw
    segments: list[SegmentInfo] = [
        {
            "id": s.id,
            "category_id": s.category_id,
            "category_name": s.category_name,
            "isthing": s.is_thing,
            "iscrowd": False,
            "area": s.area_px,
            "bbox": list(s.bbox_xywh),
            "score": s.score,
            "predicted_iou": s.predicted_iou,
            "margin": s.margin,
            "stability_score": s.stability_score,
            "entropy": s.entropy,
            "clip_agrees": s.clip_agrees,
            "is_seen": s.is_seen,
            "segmentation": {"size": [height, width], "counts": counts},
        }
        for s, counts in zip(segmentation.segments, encode_runs(segmentation.runs), strict=True)
    ]
    sharpness = boundary_sharpness(decoded.pixels, segmentation.runs)
    quality = assess(segmentation, boundary_sharpness=sharpness, consistency=consistency)
    return {
        "image_id": image.image_id,
        "uri": image.uri,
        "etag": image.etag,
        "width": width,
        "height": height,
        "exif_orientation": decoded.exif_orientation,
        "status": OK,
        "error_code": None,
        "error_message": None,
        "segments_info": segments,
        "quality": _quality_record(quality),
    }


def error_row(image: InputImage, error: ImageError) -> Row:
    """The row of an image that cannot be labelled."""
    return {
        "image_id": image.image_id,
        "uri": image.uri,
        "etag": image.etag,
        "width": None,
        "height": None,
        "exif_orientation": None,
        "status": ERROR,
        "error_code": error.code.value,
        "error_message": ADDRESS.sub("", one_line(error))[:MAX_MESSAGE_CHARS],
        "segments_info": [],
        "quality": None,
    }


def shard_bytes(
    rows: list[Row], provenance: Mapping[str, str], *, version: str = SCHEMA_VERSION
) -> bytes:
    """The Parquet file of a shard; the same rows and provenance give the same bytes.

    Args:
        rows: of its images.
        provenance: of the labels.
        version: of the schema, as the run's plan names it.
    """
    if version == "2":
        rows = [_row_of_version_2(row) for row in rows]
    metadata = {"schema_version": version, **provenance}
    table = pa.Table.from_pylist(rows, schema=ROW_SCHEMAS[version].with_metadata(metadata))
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def _row_of_version_2(row: Row) -> Row:
    """The same row with the numbers that version 2 has for an image without segments."""
    quality = row["quality"]
    if quality is None or row["segments_info"]:
        return row
    empty: QualityRecord = {
        **quality,
        "mean_predicted_iou": 0.0,
        "entropy": 1.0,
        "clip_agreement": 0.0,
    }
    return {**row, "quality": empty}


def _quality_record(quality: Quality) -> QualityRecord:
    return {
        "coverage": quality.coverage,
        "void_frac": quality.void_frac,
        "num_things": quality.num_things,
        "num_stuff": quality.num_stuff,
        "mean_score": quality.mean_score,
        "min_score": quality.min_score,
        "mean_predicted_iou": quality.mean_predicted_iou,
        "entropy": quality.entropy,
        "clip_agreement": quality.clip_agreement,
        "boundary_sharpness": quality.boundary_sharpness,
        "consistency": quality.consistency,
        "grade": quality.grade,
        "reasons": list(quality.reasons),
    }
