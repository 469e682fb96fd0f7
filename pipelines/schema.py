"""Column names and types of everything the jobs write; pinned here, never inferred."""

from typing import Any

import pyarrow as pa

SCHEMA_VERSION = "2"  # of ROW_SCHEMA; in the metadata of every file

Batch = dict[str, Any]  # what Ray hands to an actor: column name -> values

OK = "ok"  # `status` of a labelled image
ERROR = "error"  # `status` of an image that has an `error_code` instead of labels

# What a source says of each image before it is planned; a null is "unknown".
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
        pa.field("etag", pa.string()),  # null: likewise
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
        pa.field("predicted_iou", pa.float32(), nullable=False),
        pa.field("margin", pa.float32(), nullable=False),
        pa.field("stability_score", pa.float32(), nullable=False),
        pa.field("entropy", pa.float32(), nullable=False),
        pa.field("clip_agrees", pa.bool_(), nullable=False),
        pa.field("is_seen", pa.bool_(), nullable=False),
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
        pa.field("mean_predicted_iou", pa.float32(), nullable=False),
        pa.field("entropy", pa.float32(), nullable=False),
        pa.field("clip_agreement", pa.float32(), nullable=False),
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
