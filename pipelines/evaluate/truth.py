"""The ground truth of a run: its classes are the run's, and its images are found in the plan."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipelines.reader.run import open_run
from pipelines.run.classes import FrozenVocabulary, read_frozen_vocabulary
from pipelines.run.folder import RunFolder
from pipelines.run.matching import ImageName, match_images
from pipelines.run.plan import Plan, load_plan
from pipelines.schema import Row
from pipelines.storage.addresses import normalise_location
from pipelines.train.data import open_files, open_reader
from possam_core.ahead import run_ahead
from possam_core.errors import ConfigError, GroundTruthError
from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.training.data.coco_images import CocoImages
from possam_core.vocabulary.vocabulary import Vocabulary
from possam_core.vocabulary.vocabulary_class import VocabularyClass

READERS = 4  # threads
ID_MAPS_AHEAD = 16


class RunTruth:
    """Ground truth in COCO panoptic format, by the image ids of a run."""

    def __init__(self, run: RunFolder, *, location: str, masks: str | None = None) -> None:
        """Read the JSON and find its images in the plan.

        Args:
            run: the run whose images it describes.
            location: of the JSON, local or `s3://`.
            masks: folder of the id PNGs; None: the JSON without its suffix.

        Raises:
            ConfigError: there is no such file, or an image is ambiguous.
            GroundTruthError: it breaks the format, or is of other classes.
        """
        self.location = normalise_location(location)
        self.frozen = vocabulary_of(run)
        files = open_files(
            self.location, images=None, masks=None if masks is None else normalise_location(masks)
        )
        self._truth = CocoImages(files, self.frozen.vocabulary)
        plan = load_plan(run)
        assert plan is not None  # it was opened as a run
        self.indices = _find(run, plan, self._truth.image_records)

    def __len__(self) -> int:
        """The number of images, those that the run lacks included."""
        return len(self._truth)

    def read(self, image_id: str) -> PanopticAnnotation:
        """The true segments of an image in `indices`.

        Raises:
            GroundTruthError: the PNG is missing or contradicts the JSON.
        """
        return self._truth.read_annotation(self.indices[image_id])

    def read_all(self, rows: Sequence[Row]) -> Iterator[tuple[Row, PanopticAnnotation]]:
        """The rows of images in `indices`, with their true segments, which are read ahead."""
        known = [row for row in rows if row["image_id"] in self.indices]
        ids = [row["image_id"] for row in known]
        with ThreadPoolExecutor(READERS) as pool:
            annotations = run_ahead(pool, self.read, ids, ID_MAPS_AHEAD)
            for row, annotation in zip(known, annotations, strict=True):
                _require_size(row, annotation)
                yield row, annotation


def require_truth(location: str) -> None:
    """Return only if there is a file at `location`, local or `s3://`.

    Raises:
        ConfigError: there is none.
    """
    folder, _, name = normalise_location(location).rpartition("/")
    try:
        open_reader(folder or "/")(name)
    except FileNotFoundError as error:
        raise ConfigError(
            f"expected a COCO panoptic JSON at {location}, but there is none; check the path"
        ) from error


def vocabulary_of(run: RunFolder) -> FrozenVocabulary:
    """The classes of a run; without a record of them, those of its labels."""
    if (frozen := read_frozen_vocabulary(run)) is not None:
        return frozen
    categories = open_run(run.location).categories
    return FrozenVocabulary(
        vocabulary=Vocabulary(
            name="of the run",
            classes=tuple(
                VocabularyClass(category_id=c.id, name=c.name, is_thing=c.is_thing)
                for c in categories
            ),
        ),
        is_seen=tuple(c.is_seen for c in categories),
    )


def _find(run: RunFolder, plan: Plan, records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The place of each image id of the run among `records`.

    The ids of exports count where the run knows one of them. Else they are of another corpus, and
    the addresses that exports record beside them count.
    """
    names = [ImageName(str(r["file_name"]), _text_or_none(r, "image_id")) for r in records]
    places = match_images(run, plan, names)
    has_ids = any(name.image_id is not None for name in names)
    if has_ids and not any(places):
        addresses = [_text_or_none(r, "uri") or str(r["file_name"]) for r in records]
        places = match_images(run, plan, [ImageName(address) for address in addresses])
    return {place.image_id: i for i, place in enumerate(places) if place is not None}


def _text_or_none(record: Mapping[str, Any], field: str) -> str | None:
    """A text field; a number is COCO's own, not what an export wrote."""
    value = record.get(field)
    return value if isinstance(value, str) else None


def _require_size(row: Row, annotation: PanopticAnnotation) -> None:
    height, width = annotation.ids.shape
    if row["height"] is not None and (height, width) != (row["height"], row["width"]):
        raise GroundTruthError(
            f"expected labels of {width} x {height} pixels for {row['uri']}, got"
            f" {row['width']} x {row['height']}; use ground truth of the same images"
        )
