"""One labelled image of a run, taken apart only as far as it is looked at.

Axes: H W pixels of the image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from jaxtyping import UInt8
from numpy import ndarray
from pycocotools import mask as coco_mask

from pipelines.corpus.image import InputImage
from pipelines.fetch.image_reader import ImageReader
from pipelines.run.committed import Correction
from pipelines.run.folder import RunFolder
from pipelines.run.plan import read_shard
from possam_core.errors import ConfigError
from possam_core.images.decode import decode_image
from possam_core.labels.masks import VOID_ID

if TYPE_CHECKING:
    from possam_core.labels.panoptic import PanopticSegmentation, Segment

Row = dict[str, Any]

PLAIN_FIELDS = (
    "id",
    "category_id",
    "category_name",
    "score",
    "predicted_iou",
    "margin",
    "stability_score",
    "entropy",
    "clip_agrees",
    "is_seen",
)  # of a segment, which the row calls the same


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedImages:
    """Where the images of one shard are; read from the plan once somebody asks."""

    location: str  # of the run
    shard: int

    @cached_property
    def by_id(self) -> dict[str, InputImage]:
        """The planned images by their ids."""
        images = read_shard(RunFolder(self.location), self.shard)
        return {image.image_id: image for image in images}

    @cached_property
    def reader(self) -> ImageReader:
        """Reads them, but none from the web."""
        return ImageReader()

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location, "shard": self.shard}


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledImage:
    """An image and its labels."""

    row: Row  # of `schema.ROW_SCHEMA`
    correction: Correction | None  # who and when, if people have corrected it
    class_indices: Mapping[int, int]  # category id -> position in the run's categories
    planned: PlannedImages

    @property
    def image_id(self) -> str:
        """Its identity in the run."""
        return str(self.row["image_id"])

    @property
    def uri(self) -> str:
        """Where it is."""
        return str(self.row["uri"])

    @cached_property
    def segmentation(self) -> "PanopticSegmentation":
        """Its labels, pixel by pixel.

        Raises:
            ConfigError: a class of it is not one of the run's.
        """
        from possam_core.labels.panoptic import PanopticSegmentation  # seconds, for torch

        ids = np.full((self.row["width"], self.row["height"]), VOID_ID, np.int32)  # transposed
        for segment in self.row["segments_info"]:
            mask = coco_mask.decode(segment["segmentation"]).T  # whose columns lie together
            np.copyto(ids, segment["id"], where=mask.view(np.bool_))
        segments = tuple(map(self._segment, self.row["segments_info"]))
        return PanopticSegmentation(ids=np.ascontiguousarray(ids.T), segments=segments)

    def pixels(self, reader: ImageReader | None = None) -> UInt8[ndarray, "H W 3"]:
        """The image as it was labelled: RGB, upright, checked against what was planned.

        Args:
            reader: knows the hosts that may be asked; None: the image is in no web address.

        Raises:
            ImageError: the image is gone or has changed.
        """
        planned = self.planned.by_id[self.image_id]
        return decode_image((reader or self.planned.reader).read(planned)).pixels

    def _segment(self, record: Row) -> "Segment":
        from possam_core.labels.panoptic import Segment

        if record["category_id"] not in self.class_indices:
            raise ConfigError(
                f"expected classes of the run's vocabulary, but {self.uri} has"
                f" {record['category_name']!r} as category {record['category_id']}; find out what"
                " changed with possam verify"
            )
        return Segment(
            class_index=self.class_indices[record["category_id"]],
            is_thing=record["isthing"],
            area_px=record["area"],
            bbox_xywh=tuple(record["bbox"]),
            **{name: record[name] for name in PLAIN_FIELDS},
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledShard:
    """The labelled images of one shard, each taken out of the table when it is asked for."""

    rows: pa.Table  # of `schema.ROW_SCHEMA`, all with labels
    corrections: Mapping[str, Correction]
    class_indices: Mapping[int, int]
    planned: PlannedImages

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def __getitem__(self, index: int) -> LabelledImage:
        (row,) = self.rows.slice(index, 1).to_pylist()
        return LabelledImage(
            row=row,
            correction=self.corrections.get(row["image_id"]),
            class_indices=self.class_indices,
            planned=self.planned,
        )
