"""One labelled image of an export: its classes are mapped, its areas and boxes recomputed.

Axes: H W pixels of the image.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, TypedDict, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy import ndarray

from pipelines.export.classes import ClassMap, ExportedClass
from pipelines.export.pictures import Picture
from pipelines.export.png import encode_grey, encode_ids
from pipelines.formats.coco_panoptic import segment_record
from pipelines.run.committed import Correction
from pipelines.run.grading import shown_grades
from pipelines.run.id_map import damaged_labels
from possam_core.errors import PossamError
from possam_core.images.decode import UPRIGHT
from possam_core.labels.id_colours import MAX_ID
from possam_core.labels.masks import VOID_ID, AreaAndBox
from possam_core.labels.pixel_runs import PixelRuns
from possam_core.labels.rle import decode_runs, rle_counts

TRAIN, VAL = "train", "val"
SAFE_STEM = re.compile(r"[A-Za-z0-9_-]{1,80}")  # no dot: WebDataset splits a name at the first one


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedSegment:
    """One segment, or all segments of stuff that were merged into one class."""

    id: int  # as in the run; the least id of merged segments
    category: ExportedClass
    is_crowd: bool
    geometry: AreaAndBox
    score: float  # the mean by area of merged segments
    counts: str | None  # COCO compressed RLE; None: merged segments, so it must be computed

    def to_json(self) -> dict[str, object]:
        """The segment's record in COCO panoptic format."""
        return segment_record(
            self.id, self.category.id, self.geometry, is_crowd=self.is_crowd, score=self.score
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One image of an export."""

    image_id: str
    uri: str
    split: str  # TRAIN or VAL
    image_hw: tuple[int, int]
    exif_orientation: int
    grade: str  # as it is shown
    correction: Correction | None  # if people have drawn these segments
    segments: tuple[ExportedSegment, ...]
    runs: PixelRuns  # of `segments`, in order
    path: str  # of the original below its corpus, or its whole address
    picture: Picture | None = None  # None: the image is not copied

    def facts(self) -> dict[str, str | int]:
        """The image's id and address, the grade of its labels, and who corrected them."""
        facts: dict[str, str | int] = {"image_id": self.image_id, "uri": self.uri}
        facts["grade"] = self.grade
        if self.picture is None and self.exif_orientation != UPRIGHT:
            facts["exif_orientation"] = self.exif_orientation  # the loader has to turn it
        if self.correction is not None:
            facts["corrected_by"] = self.correction.author
            facts["corrected_at"] = self.correction.corrected_at.isoformat()
        return facts

    @property
    def stem(self) -> str:
        """The name of its files: the image's id, or its hash if the id is not a safe file name."""
        return file_stem(self.image_id)

    @property
    def file_name(self) -> str:
        """The name of the picture, or the path of the original if that is not copied."""
        return f"{self.stem}.{self.picture.suffix}" if self.picture else self.path

    def ids(self) -> ndarray:
        """The segment id of each pixel (H, W); 0 is void."""
        return self.runs.paint([s.id for s in self.segments], void=VOID_ID)

    def ids_png(self) -> bytes:
        """The ids as a PNG in COCO panoptic format."""
        return encode_ids(self.runs, [s.id for s in self.segments])

    def classes_png(self, *, void: int, bit_depth: Literal[8, 16], first: int = 0) -> bytes:
        """The index of each pixel's class as a grey level, counted from `first`."""
        levels = [first + s.category.index for s in self.segments]
        return encode_grey(self.runs, levels, void=void, bit_depth=bit_depth)

    def rle_counts(self) -> list[str]:
        """COCO compressed RLE of each segment."""
        if all(s.counts is not None for s in self.segments):
            return [s.counts or "" for s in self.segments]
        by_id = rle_counts(self.ids().astype(np.int32))
        return [by_id[s.id] for s in self.segments]


def file_stem(image_id: str) -> str:
    """A file name without suffix for an image: its id if that is safe, else its hash."""
    if SAFE_STEM.fullmatch(image_id):
        return image_id
    return blake2b(image_id.encode(), digest_size=16).hexdigest()


def path_in_corpus(uri: str, corpus: str) -> str:
    """The path of an image below its corpus folder, or below the folder of its glob or file."""
    fixed = corpus.partition("*")[0].partition("?")[0].partition("[")[0]
    folders = (fixed.rstrip("/"), fixed.rpartition("/")[0])
    roots = [f"{folder}/" for folder in folders if folder and uri.startswith(f"{folder}/")]
    return uri.removeprefix(roots[0]) if roots else uri


def split_of(image_id: str, val_share: float) -> str:
    """The split of an image, which does not depend on what else is exported."""
    number = int.from_bytes(blake2b(image_id.encode(), digest_size=8, person=b"split").digest())
    return VAL if number < val_share * 2**64 else TRAIN


def make_examples(
    rows: pa.Table,
    classes: ClassMap,
    *,
    val_share: float = 0.0,
    corrections: Mapping[str, Correction] | None = None,
    corpus: str = "",
    uncalibrated: str | None = None,
) -> Iterator[Example]:
    """The images of `rows` in order, without their pictures.

    Args:
        rows: of `schema.ROW_SCHEMA`; every one has labels.
        classes: the mapping of the run's classes.
        val_share: share of the images in the split VAL.
        corrections: by image id.
        corpus: address of the corpus, from the plan.
        uncalibrated: why the grades of the model promise nothing; None: they do.

    Raises:
        ConfigError: the segments of an image are damaged.
    """
    columns = _Columns.of(rows)
    sizes = pc.list_value_length(rows["segments_info"]).to_pylist()
    last = 0
    for head, size in zip(_heads(rows, uncalibrated), sizes, strict=True):
        first, last = last, last + size
        image_hw = (head["height"], head["width"])
        try:
            segments, runs = _choose(columns, range(first, last), classes, image_hw)
        except PossamError as error:
            raise damaged_labels(head["uri"], error) from error
        yield Example(
            image_id=head["image_id"],
            uri=head["uri"],
            split=split_of(head["image_id"], val_share),
            image_hw=image_hw,
            exif_orientation=head["exif_orientation"],
            grade=head["grade"],
            correction=(corrections or {}).get(head["image_id"]),
            path=path_in_corpus(head["uri"], corpus),
            segments=segments,
            runs=runs,
        )


class _Head(TypedDict):
    """The columns of a labelled row that describe the whole image."""

    image_id: str
    uri: str
    width: int
    height: int
    exif_orientation: int
    grade: str


def _heads(rows: pa.Table, uncalibrated: str | None) -> list[_Head]:
    heads = rows.select(["image_id", "uri", "width", "height", "exif_orientation"])
    heads = heads.append_column("grade", shown_grades(rows["quality"], uncalibrated))
    return cast(list[_Head], heads.to_pylist())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """The segments of all images, one after another."""

    ids: list[int]
    category_ids: list[int]
    crowds: list[bool]
    scores: list[float]
    counts: list[str]

    @classmethod
    def of(cls, rows: pa.Table) -> "_Columns":
        flat = pc.list_flatten(rows["segments_info"])
        return cls(
            ids=pc.struct_field(flat, "id").to_pylist(),
            category_ids=pc.struct_field(flat, "category_id").to_pylist(),
            crowds=pc.struct_field(flat, "iscrowd").to_pylist(),
            scores=pc.struct_field(flat, "score").to_pylist(),
            counts=pc.struct_field(flat, ["segmentation", "counts"]).to_pylist(),
        )


def _choose(
    columns: _Columns, places: Sequence[int], classes: ClassMap, image_hw: tuple[int, int]
) -> tuple[tuple[ExportedSegment, ...], PixelRuns]:
    """The segments at `places` whose classes are exported; stuff of one class is merged."""
    chosen = [p for p in places if columns.category_ids[p] in classes.index_of]
    groups: dict[tuple[int, int], list[int]] = {}  # by class, and for a thing by its place
    for i, place in enumerate(chosen):
        index = classes.index_of[columns.category_ids[place]]
        groups.setdefault((index, place if classes.classes[index].is_thing else -1), []).append(i)
    parts = decode_runs([columns.counts[p] for p in chosen], image_hw)
    runs, part_areas = parts, [0] * len(chosen)
    if len(groups) < len(chosen):
        targets = {i: target for target, group in enumerate(groups.values()) for i in group}
        runs = parts.regroup([targets[i] for i in range(len(chosen))], len(groups))
        part_areas = [geometry.area_px for geometry in parts.areas_and_boxes()]
    segments = [
        _segment(
            columns,
            [(chosen[i], part_areas[i]) for i in group],
            classes.classes[index],
            geometry,
        )
        for (index, _), group, geometry in zip(
            groups, groups.values(), runs.areas_and_boxes(), strict=True
        )
    ]
    return tuple(segments), runs


def _segment(
    columns: _Columns,
    parts: Sequence[tuple[int, int]],
    category: ExportedClass,
    geometry: AreaAndBox,
) -> ExportedSegment:
    """One exported segment made of parts, which are (place, area) pairs."""
    place = parts[0][0]
    segment_id = min(columns.ids[p] for p, _ in parts)
    if not VOID_ID < segment_id <= MAX_ID:
        raise PossamError(f"a segment has the id {segment_id}, which no PNG can hold")
    is_one = len(parts) == 1
    weighted = sum(columns.scores[p] * area for p, area in parts)
    return ExportedSegment(
        id=segment_id,
        category=category,
        is_crowd=any(columns.crowds[p] for p, _ in parts),
        geometry=geometry,
        score=columns.scores[place] if is_one else weighted / geometry.area_px,
        counts=columns.counts[place] if is_one else None,
    )
