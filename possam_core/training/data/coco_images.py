"""Training data in COCO panoptic format, as COCO and ADE20K are published: JSON, id PNGs, images.

Bytes come from readers, so the files may be anywhere. Classes are found by name, including COCO's
names of stuff (`floor-other-merged`) and ADE20K's lists of synonyms (`road, route`).

Axes: H W pixels of the image.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int32
from numpy import ndarray

from possam_core.errors import GroundTruthError, nearest
from possam_core.evaluation.coco_json import (
    AnnotationRecord,
    Record,
    annotations_of,
    by_id,
    flag,
    is_crowd,
    missing_fields_named,
    parse_json,
)
from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.images.decode import ImageError, decode_image
from possam_core.labels.id_colours import read_id_png
from possam_core.labels.masks import VOID_ID
from possam_core.training.data.labelled import GroundTruthImage
from possam_core.vocabulary.published_names import find_class
from possam_core.vocabulary.vocabulary import Vocabulary

Reader = Callable[[str], bytes]  # raises FileNotFoundError where there is no such file


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoFiles:
    """Where a data set is, and how its files are read."""

    annotations: str  # the JSON, for messages
    read_annotations: Callable[[], bytes]
    read_mask: Reader  # of id PNGs
    read_image: Reader | None = None  # None: the images are elsewhere, and only their truth is read


@dataclass(frozen=True, slots=True)
class _Segments:
    """The segments of one image, in the JSON's order."""

    image: Mapping[str, Any]  # its record
    image_name: str
    mask_name: str
    ids: ndarray
    class_indices: tuple[int, ...]
    crowds: frozenset[int]  # positions counted from 1


class CocoImages:
    """A data set in COCO panoptic format; its images are read on demand."""

    def __init__(
        self, files: CocoFiles, vocabulary: Vocabulary, *, limit: int | None = None
    ) -> None:
        """Read and check the JSON.

        Args:
            files: of the data set.
            vocabulary: must have the class of every segment.
            limit: keep at most so many images, the first.

        Raises:
            GroundTruthError: there is no JSON, it breaks the format, or `vocabulary` lacks the
                class of a segment.
        """
        self.vocabulary, self._files = vocabulary, files
        content = self._read_json()
        with missing_fields_named(files.annotations):
            self._images = _parse(content, vocabulary, files.annotations, limit)
        if not self._images:
            raise GroundTruthError(
                f"expected annotated images in {files.annotations}, but it holds none"
            )
        self.key = f"{files.annotations} {len(self._images)} {vocabulary.fingerprint}"

    def __len__(self) -> int:
        return len(self._images)

    @property
    def image_records(self) -> list[Mapping[str, Any]]:
        """What the JSON says of each image."""
        return [segments.image for segments in self._images]

    def read_annotation(self, index: int) -> PanopticAnnotation:
        """The true segments of image `index`, with the category ids of the vocabulary.

        Raises:
            GroundTruthError: the PNG is missing or damaged, or has other ids than the JSON names.
        """
        segments = self._images[index]
        classes = (self.vocabulary.classes[c] for c in segments.class_indices)
        return PanopticAnnotation(
            ids=self._read_ids(segments),
            category_ids={i: c.category_id for i, c in enumerate(classes, start=1)},
            crowd_ids=segments.crowds,
        )

    def read(self, index: int) -> GroundTruthImage:
        """Image `index` with its segments.

        Raises:
            GroundTruthError: a file is missing or damaged, the PNG has other ids than the JSON
                names, or the two are of different sizes.
        """
        segments = self._images[index]
        ids = self._read_ids(segments)
        assert self._files.read_image is not None
        data = self._read(self._files.read_image, segments.image_name, "image")
        try:
            pixels = decode_image(data).pixels
        except ImageError as error:
            raise GroundTruthError(
                f"expected an image in {segments.image_name}, but {error}; leave it out of"
                f" {self._files.annotations}"
            ) from error
        if pixels.shape[:2] != ids.shape:
            raise GroundTruthError(
                f"expected {segments.mask_name} of the size of {segments.image_name}, but they are"
                f" {ids.shape} and {pixels.shape[:2]} pixels high and wide"
            )
        return GroundTruthImage(
            name=segments.image_name,
            pixels=pixels,
            ids=ids,
            class_indices=segments.class_indices,
            crowds=segments.crowds,
        )

    def _read_json(self) -> Any:
        try:
            content = self._files.read_annotations()
        except FileNotFoundError as error:
            raise GroundTruthError(
                f"expected a COCO panoptic JSON at {self._files.annotations}, but there is none;"
                " check the path"
            ) from error
        return parse_json(content, self._files.annotations)

    def _read(self, reader: Reader, name: str, what: str) -> bytes:
        try:
            return reader(name)
        except FileNotFoundError as error:
            raise GroundTruthError(
                f"expected the {what} {name}, which {self._files.annotations} names, but there is"
                " none; check the folder"
            ) from error

    def _read_ids(self, segments: _Segments) -> Int32[ndarray, "H W"]:
        """The id map with ids counted from 1 in the JSON's order."""
        data = self._read(self._files.read_mask, segments.mask_name, "id map")
        found = read_id_png(io.BytesIO(data), segments.mask_name)
        order = np.argsort(segments.ids)
        known = np.concatenate([[VOID_ID], segments.ids[order]])
        places = np.searchsorted(known, found).clip(max=len(known) - 1)
        is_known = known[places] == found
        if not is_known.all():
            extra = np.unique(found[~is_known])[:3].tolist()
            raise GroundTruthError(
                f"expected {segments.mask_name} to hold only ids that"
                f" {self._files.annotations} names for {segments.image_name}, but it holds"
                f" {', '.join(map(str, extra))}; correct one of the two"
            )
        renumbered = np.concatenate([[0], order + 1]).astype(np.int32)
        result: Int32[ndarray, "H W"] = renumbered[places]
        return result


def _parse(content: Any, vocabulary: Vocabulary, source: str, limit: int | None) -> list[_Segments]:
    categories = by_id(content["categories"], source, what="categories")
    class_of = {i: find_class(str(c["name"]), vocabulary) for i, c in categories.items()}
    checked: set[Any] = set()
    result = []
    for record in annotations_of(content, source, limit=limit):
        for info in record.segments:
            if (category_id := info["category_id"]) not in checked:
                checked.add(category_id)
                where = f"{source}, but a segment of {record.file_name}"
                _require_class(
                    categories[category_id], class_of[category_id], vocabulary, where=where
                )
        result.append(_segments(record, class_of))
    return result


def _require_class(
    category: Record, class_index: int | None, vocabulary: Vocabulary, *, where: str
) -> None:
    """Return only if a category of the truth is a class of the vocabulary, and of its kind."""
    name = str(category["name"])
    if class_index is None:
        known = [n for c in vocabulary.classes for n in c.all_names]
        hint = nearest(name, known, otherwise="add it to the vocabulary")
        raise GroundTruthError(
            f"expected only classes of the vocabulary {vocabulary.name!r} in {where} is of the"
            f" class {name!r}; {hint}"
        )
    entry = vocabulary.classes[class_index]
    if flag(category.get("isthing", entry.is_thing), "isthing") != entry.is_thing:
        kinds = ("a thing", "stuff") if entry.is_thing else ("stuff", "a thing")
        raise GroundTruthError(
            f"expected {name!r} to be {kinds[0]} as in the vocabulary {vocabulary.name!r} in"
            f" {where} is {kinds[1]} of that class; correct one of the two"
        )


def _segments(record: AnnotationRecord, class_of: Mapping[Any, int | None]) -> _Segments:
    found = (class_of[info["category_id"]] for info in record.segments)
    return _Segments(
        record.image,
        record.file_name,
        record.png_name,
        np.array(record.ids, np.int64),
        tuple(index for index in found if index is not None),
        frozenset(i for i, info in enumerate(record.segments, start=1) if is_crowd(info)),
    )
