"""Column names and types of everything the jobs write; pinned here, never inferred.

Below the Arrow schema of a row is its Python type; a test compares the two.
"""

from collections.abc import Collection
from typing import Any, TypedDict, TypeGuard, cast

import pyarrow as pa

Batch = dict[str, Any]  # what Ray hands to an actor: column name -> values

OK = "ok"  # `status` of a labelled image
ERROR = "error"  # `status` of an image that has an `error_code` instead of labels

# What a source lists for each image before it is planned; null: unknown.
INPUT_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("relative_uri", pa.string(), nullable=False),  # to the root of the corpus
        pa.field("size", pa.int64()),  # of the image, in bytes
        pa.field("etag", pa.string()),
        pa.field("container", pa.string()),  # the tar or Parquet file that holds it; null: none
        pa.field("offset", pa.int64()),  # in the container: first byte, or row of a Parquet file
        pa.field("modified", pa.timestamp("us", "UTC")),
        pa.field("image_id", pa.string()),  # given by a manifest
    ]
)

# Frozen by the plan; `shard` and `position` are the image's place in the run.
PLAN_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("size", pa.int64()),  # null: unknown, so not checked when it is read
        pa.field("etag", pa.string()),  # null: as for the size
        pa.field("container", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
    ]
)

SEGMENT_TYPE = pa.struct(
    [
        pa.field("id", pa.int32(), nullable=False),
        pa.field("category_id", pa.int32(), nullable=False),
        pa.field("category_name", pa.string(), nullable=False),
        pa.field("isthing", pa.bool_(), nullable=False),
        pa.field("iscrowd", pa.bool_(), nullable=False),
        pa.field("area", pa.int64(), nullable=False),
        pa.field("bbox", pa.list_(pa.int32(), 4), nullable=False),  # x y w h, in pixels
        pa.field("score", pa.float32(), nullable=False),
        pa.field("predicted_iou", pa.float32()),  # null, here and below: the model does not know it
        pa.field("margin", pa.float32()),
        pa.field("stability_score", pa.float32()),
        pa.field("entropy", pa.float32()),
        pa.field("clip_agrees", pa.bool_()),
        pa.field("is_seen", pa.bool_()),
        pa.field(
            "segmentation",
            pa.struct(
                [
                    pa.field("size", pa.list_(pa.int32(), 2), nullable=False),  # h w, in pixels
                    pa.field("counts", pa.string(), nullable=False),  # COCO compressed RLE
                ]
            ),
            nullable=False,
        ),
    ]
)

QUALITY_TYPE = pa.struct(
    [
        pa.field("coverage", pa.float32(), nullable=False),
        pa.field("void_frac", pa.float32(), nullable=False),
        pa.field("num_things", pa.int32(), nullable=False),
        pa.field("num_stuff", pa.int32(), nullable=False),
        pa.field("mean_score", pa.float32(), nullable=False),
        pa.field("min_score", pa.float32(), nullable=False),
        # Null, of these three: the model knows it of no segment.
        pa.field("mean_predicted_iou", pa.float32()),
        pa.field("entropy", pa.float32()),
        pa.field("clip_agreement", pa.float32()),
        pa.field("boundary_sharpness", pa.float32(), nullable=False),
        pa.field("consistency", pa.float32()),  # null: the image was not sampled for it
        pa.field("grade", pa.string(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
    ]
)

# One planned image. A row with `status` error has no size, no segments and no quality.
ROW_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("etag", pa.string()),  # null: the plan did not know it
        pa.field("width", pa.int32()),  # after EXIF rotation, as are all coordinates
        pa.field("height", pa.int32()),
        pa.field("exif_orientation", pa.int32()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error_code", pa.string()),
        pa.field("error_message", pa.string()),
        pa.field("segments_info", pa.list_(SEGMENT_TYPE), nullable=False),
        pa.field("quality", QUALITY_TYPE),
    ]
)


def _row_schema_2() -> pa.Schema:
    """That of before: the same columns, and every model knew every measure."""
    known = {
        "segments_info": pa.list_(_never_null(SEGMENT_TYPE, keep=())),
        "quality": _never_null(QUALITY_TYPE, keep=("consistency",)),
    }
    return pa.schema([f.with_type(known.get(f.name, f.type)) for f in ROW_SCHEMA])


def _never_null(kind: pa.StructType, *, keep: Collection[str]) -> pa.StructType:
    return pa.struct([f.with_nullable(f.name in keep) for f in kind])


# By `pipelines.run.folder.SCHEMA_VERSIONS`. Rows of each are read; a run is written in that of its
# plan to its end.
ROW_SCHEMAS = {"2": _row_schema_2(), "3": ROW_SCHEMA}


class Segmentation(TypedDict):
    """The pixels of a segment."""

    size: list[int]  # h w, in pixels
    counts: str  # COCO compressed RLE


class SegmentInfo(TypedDict):
    """One segment: SEGMENT_TYPE."""

    id: int
    category_id: int
    category_name: str
    isthing: bool
    iscrowd: bool
    area: int
    bbox: list[int]  # x y w h, in pixels
    score: float
    predicted_iou: float | None  # None, here and below: the model does not know it
    margin: float | None
    stability_score: float | None
    entropy: float | None
    clip_agrees: bool | None
    is_seen: bool | None
    segmentation: Segmentation


class QualityRecord(TypedDict):
    """How good the labels of an image are: QUALITY_TYPE."""

    coverage: float
    void_frac: float
    num_things: int
    num_stuff: int
    mean_score: float
    min_score: float
    mean_predicted_iou: float | None
    entropy: float | None
    clip_agreement: float | None
    boundary_sharpness: float
    consistency: float | None
    grade: str
    reasons: list[str]


class _RowOfAnyStatus(TypedDict):
    image_id: str
    uri: str
    etag: str | None
    status: str
    error_code: str | None
    error_message: str | None
    segments_info: list[SegmentInfo]


class Row(_RowOfAnyStatus):
    """One planned image: ROW_SCHEMA."""

    width: int | None
    height: int | None
    exif_orientation: int | None
    quality: QualityRecord | None


class LabelledRow(_RowOfAnyStatus):
    """A row with `status` ok, which has a size and a quality."""

    width: int
    height: int
    exif_orientation: int
    quality: QualityRecord


def is_labelled(row: Row) -> TypeGuard[LabelledRow]:
    """Whether `row` has labels."""
    return row["status"] == OK


def to_rows(table: pa.Table) -> list[Row]:
    """The rows of a table of ROW_SCHEMA."""
    return cast(list[Row], table.to_pylist())
