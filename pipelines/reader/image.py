"""One labelled image of a run, whose parts are decoded on demand.

Axes: H W pixels of the image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from jaxtyping import UInt8
from numpy import ndarray

from pipelines.corpus.image import InputImage
from pipelines.fetch.image_reader import ImageReader
from pipelines.run.committed import Correction
from pipelines.run.folder import RunFolder
from pipelines.run.id_map import id_map
from pipelines.run.parts import read_shard
from pipelines.schema import LabelledRow, SegmentInfo, is_labelled, to_rows
from possam_core.errors import ConfigError
from possam_core.images.decode import decode_image

if TYPE_CHECKING:
    from possam_core.labels.segmentation import PanopticSegmentation, Segment


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedImages:
    """The planned images of one shard, read from the plan on first use."""

    location: str  # of the run
    shard: int

    @cached_property
    def by_id(self) -> dict[str, InputImage]:
        """The planned images by their ids."""
        images = read_shard(RunFolder(self.location), self.shard)
        return {image.image_id: image for image in images}

    @cached_property
    def reader(self) -> ImageReader:
        """A reader of the images that allows no web hosts."""
        return ImageReader()

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location, "shard": self.shard}


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledImage:
    """An image and its labels.

    Example:
        >>> from pipelines import open_run
        >>> image = next(iter(open_run("run")))
        >>> image.pixels().shape[:2] == image.segmentation.ids.shape
        True
    """

    row: LabelledRow  # of `schema.ROW_SCHEMA`
    correction: Correction | None  # author and time, if people have corrected it
    class_indices: Mapping[int, int]  # category id -> position in the run's categories
    planned: PlannedImages

    @property
    def image_id(self) -> str:
        """The image's id in the run."""
        return str(self.row["image_id"])

    @property
    def uri(self) -> str:
        """The image's address."""
        return str(self.row["uri"])

    @cached_property
    def segmentation(self) -> "PanopticSegmentation":
        """The labels as a panoptic segmentation.

        Raises:
            ConfigError: a segment's class is not one of the run's, or the segments are damaged.
        """
        from possam_core.labels.segmentation import PanopticSegmentation

        segments = tuple(map(self._segment, self.row["segments_info"]))
        return PanopticSegmentation(ids=id_map(self.row), segments=segments)

    def pixels(self, reader: ImageReader | None = None) -> UInt8[ndarray, "H W 3"]:
        """The image as it was labelled: RGB, upright, checked against the plan.

        Args:
            reader: an image reader with its allowed hosts; None: web addresses are refused.

        Raises:
            ImageError: the image is gone or has changed.
        """
        planned = self.planned.by_id[self.image_id]
        return decode_image((reader or self.planned.reader).read(planned)).pixels

    def _segment(self, record: SegmentInfo) -> "Segment":
        from possam_core.labels.segmentation import Segment

        if record["category_id"] not in self.class_indices:
            raise ConfigError(
                f"expected classes of the run's vocabulary, but {self.uri} has"
                f" {record['category_name']!r} as category {record['category_id']}; find out what"
                " changed with possam verify"
            )
        x, y, width, height = record["bbox"]
        return Segment(
            id=record["id"],
            class_index=self.class_indices[record["category_id"]],
            category_id=record["category_id"],
            category_name=record["category_name"],
            is_thing=record["isthing"],
            area_px=record["area"],
            bbox_xywh=(x, y, width, height),
            score=record["score"],
            predicted_iou=record["predicted_iou"],
            margin=record["margin"],
            stability_score=record["stability_score"],
            entropy=record["entropy"],
            clip_agrees=record["clip_agrees"],
            is_seen=record["is_seen"],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledShard:
    """The labelled images of one shard, as a sequence that converts rows on demand."""

    rows: pa.Table  # of `schema.ROW_SCHEMA`, all with labels
    corrections: Mapping[str, Correction]
    class_indices: Mapping[int, int]
    planned: PlannedImages

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def __getitem__(self, index: int) -> LabelledImage:
        (row,) = to_rows(self.rows.slice(index, 1))
        assert is_labelled(row)  # as all of `rows`
        return LabelledImage(
            row=row,
            correction=self.corrections.get(row["image_id"]),
            class_indices=self.class_indices,
            planned=self.planned,
        )
