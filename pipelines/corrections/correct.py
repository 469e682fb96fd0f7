"""`possam correct`: add annotators' labels to a run as a file of rows that take precedence."""

import io
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corrections.corrected_row import corrected_row
from pipelines.formats.annotation import AnnotatedImage, refuse
from pipelines.formats.coco_panoptic import read_coco_panoptic
from pipelines.formats.label_studio import read_label_studio
from pipelines.reader.run import LabelledRun, open_run
from pipelines.run.committed import CORRECTION_SCHEMAS, Correction
from pipelines.run.folder import CORRECTION_KEY, RunFolder, correction_key
from pipelines.run.matching import ImageName, PlannedImage, match_images
from pipelines.run.plan import Plan
from pipelines.schema import LabelledRow, Row, is_labelled, to_rows
from pipelines.storage.store import trouble_named
from possam_core.errors import ConfigError

COCO_PANOPTIC, LABEL_STUDIO = "coco-panoptic", "label-studio"
READERS = {COCO_PANOPTIC: read_coco_panoptic, LABEL_STUDIO: read_label_studio}


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionReport:
    """The result of `correct_run`."""

    location: str  # of the run
    key: str  # of the corrections file in the run
    num_images: int
    num_again: int  # of those, images that had been corrected before
    num_same: int  # of those, images whose segments are the same as before


def correct_run(
    location: str,
    file: Path,
    *,
    author: str,
    format: str | None = None,
    single_writer: bool = False,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> CorrectionReport:
    """Add the labels of an annotators' file to the run: all of them, or none.

    Args:
        location: the run folder.
        file: the annotators' file.
        author: who is responsible for these labels.
        format: one of READERS; None: guessed from the file.
        single_writer: as for `RunFolder`.
        on_image: called with the number of images read so far, and of all.

    Raises:
        PossamError: there is no run, or the file cannot be used.
    """
    if not author.strip():
        raise ConfigError("expected the name of the author of the corrections, got none; give one")
    if format is not None and format not in READERS:
        raise ConfigError(f"expected a format among {', '.join(READERS)}, got {format!r}; name one")
    run = open_run(location)
    annotated = READERS[format or _guess_format(file)](file)
    if not annotated:
        raise ConfigError(
            f"expected annotated images in {file}, got none; finish some and export again"
        )
    with trouble_named(run.location):
        folder = RunFolder(run.location, single_writer=single_writer)
        matches = _match(folder, run.plan, annotated)
        rows, num_same = _corrected_rows(run, matches, on_image)
        now = datetime.now(UTC).replace(microsecond=0)
        correction = Correction(author=author.strip(), corrected_at=now, source=file.name)
        key = _put(folder, _parquet(rows, correction, run), now)
    return CorrectionReport(
        location=run.location,
        key=key,
        num_images=len(rows),
        num_again=sum(row["image_id"] in run.corrections for row in rows),
        num_same=num_same,
    )


def _guess_format(file: Path) -> str:
    """Label Studio writes a list of tasks, COCO an object."""
    try:
        with file.open(encoding="utf-8") as stream:
            start = stream.read(4096).lstrip("\ufeff \t\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"expected an annotators' file at {file}, but it could not be read ({error}); check the"
            " path"
        ) from error
    return LABEL_STUDIO if start[:1] == "[" else COCO_PANOPTIC


def _match(
    run: RunFolder, plan: Plan, annotated: list[AnnotatedImage]
) -> list[tuple[PlannedImage, AnnotatedImage]]:
    """Each annotated image with its place in the run.

    Raises:
        ConfigError: an image is not in the run, is ambiguous, or is annotated twice.
    """
    places = match_images(run, plan, [ImageName(a.name, a.image_id) for a in annotated])
    matches = []
    for image, place in zip(annotated, places, strict=True):
        if place is None:
            raise refuse(image.name, "the run has no such image", "name images as the run does")
        matches.append((place, image))
    return matches


def _corrected_rows(
    run: LabelledRun,
    matches: list[tuple[PlannedImage, AnnotatedImage]],
    on_image: Callable[[int, int], None],
) -> tuple[list[LabelledRow], int]:
    """The new row of each matched image, in plan order, and how many have the same segments."""
    categories = {category.name: category for category in run.categories}
    by_shard: dict[int, dict[str, AnnotatedImage]] = defaultdict(dict)
    for place, annotated in matches:
        by_shard[place.shard][place.image_id] = annotated
    corrected: list[LabelledRow] = []
    num_same = 0
    for shard in sorted(by_shard):
        for row in _rows_of(run, shard, by_shard[shard]):
            image = by_shard[shard][row["image_id"]]
            if not is_labelled(row):
                raise refuse(
                    image.name,
                    f"it failed with {row['error_code']}, so there are no labels to correct",
                    "label it with possam retry first",
                )
            regions = image.read_regions((row["height"], row["width"]))
            corrected.append(corrected_row(row, regions, categories, image=image.name))
            num_same += _drawn(corrected[-1]) == _drawn(row)
            on_image(len(corrected), len(matches))
    return corrected, num_same


def _drawn(row: LabelledRow) -> set[tuple[int, bool, str]]:
    """Class and mask of each segment."""
    return {
        (s["category_id"], s["iscrowd"], str(s["segmentation"]["counts"]))
        for s in row["segments_info"]
    }


def _rows_of(run: LabelledRun, shard: int, wanted: dict[str, AnnotatedImage]) -> list[Row]:
    if shard not in run.commits.shards:
        name = next(iter(wanted.values())).name
        raise refuse(name, "it has no labels yet", "finish the run with possam label first")
    rows = run.read_shard(shard)
    places = [i for i, x in enumerate(rows["image_id"].to_pylist()) if x in wanted]
    return to_rows(rows.take(pa.array(places, pa.int64())))


def _parquet(rows: list[LabelledRow], correction: Correction, run: LabelledRun) -> bytes:
    version = run.plan.schema_version
    metadata = {"schema_version": version, "plan_id": run.plan.plan_id}
    records = [{**row, **asdict(correction)} for row in rows]
    table = pa.Table.from_pylist(
        records, schema=CORRECTION_SCHEMAS[version].with_metadata(metadata)
    )
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def _put(run: RunFolder, data: bytes, now: datetime) -> str:
    """Write the file under the next free number; return its key."""
    keys = run.correction_keys()
    match = CORRECTION_KEY.fullmatch(keys[-1]) if keys else None
    number = int(match[1]) + 1 if match else 1
    while not run.put_new(key := correction_key(number, now), data):
        number += 1
    return key
