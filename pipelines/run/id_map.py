"""The labels of a row as a map: which segment each pixel belongs to.

Axes: H W pixels of the image.
"""

from collections.abc import Sequence

from jaxtyping import Int32
from numpy import ndarray

from pipelines.schema import LabelledRow
from possam_core.errors import ConfigError, PossamError
from possam_core.labels.rle import decode_ids


def id_map(row: LabelledRow, values: Sequence[int] | None = None) -> Int32[ndarray, "H W"]:
    """The id of each pixel's segment; `VOID_ID` where there is none.

    Args:
        row: with the segments.
        values: one for each segment, instead of its id.

    Raises:
        ConfigError: the segments are damaged.
    """
    segments = row["segments_info"]
    counts = [segment["segmentation"]["counts"] for segment in segments]
    ids = [segment["id"] for segment in segments] if values is None else values
    try:
        return decode_ids(counts, ids, (row["height"], row["width"]))
    except PossamError as error:
        raise damaged_labels(row["uri"], error) from error


def damaged_labels(uri: str, error: PossamError) -> ConfigError:
    """The error for segments of the image at `uri` that cannot be decoded."""
    return ConfigError(
        f"expected sound labels of {uri}, but {error}; find out what else is damaged with possam"
        " verify"
    )
