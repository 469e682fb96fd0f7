"""One shard of a run -> its outputs, and the part file that commits them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.corpus.image import InputImage
from pipelines.export.classes import ClassMap
from pipelines.export.config import ExportConfig
from pipelines.export.example import Example, make_examples
from pipelines.export.folder import ExportFolder
from pipelines.export.parts import LeftOut, PartHead, part_bytes, part_key
from pipelines.export.pictures import make_picture, read_images
from pipelines.export.protocol import Unit
from pipelines.fetch.image_reader import Fetched, ImageReader
from pipelines.reader import LabelledRun
from pipelines.run.folder import RunFolder
from pipelines.run.parts import read_shard
from pipelines.schema import OK
from pipelines.storage.store import trouble_named
from possam_core.images.decode import ImageError


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """The input of every worker of an export."""

    config: ExportConfig
    run: LabelledRun
    classes: ClassMap
    uncalibrated: str | None  # why the grades of the run promise nothing; None: they do


@dataclass(slots=True)
class _Tally:
    """Counts examples as they pass."""

    num_images: Counter[str] = field(default_factory=Counter)
    num_segments: int = 0
    num_corrected: int = 0
    left_out: list[LeftOut] = field(default_factory=list)

    def count(self, examples: Iterator[Example]) -> Iterator[Example]:
        for example in examples:
            self.num_images[example.split] += 1
            self.num_segments += len(example.segments)
            self.num_corrected += example.correction is not None
            yield example

    def head(self) -> PartHead:
        return PartHead(
            num_images=dict(sorted(self.num_images.items())),
            num_segments=self.num_segments,
            num_corrected=self.num_corrected,
            left_out=tuple(self.left_out),
        )


def export_unit(job: ExportJob, shard: int) -> PartHead:
    """Write the output files of `shard`, then its part, which commits it.

    Raises:
        ConfigError: the labels are damaged, or a store failed; nothing is committed then.
    """
    tally = _Tally()
    config = job.config
    rows = kept_rows(job.run.read_shard(shard), config.min_grade)
    examples = make_examples(
        rows,
        job.classes,
        val_share=config.val_share,
        corrections=job.run.corrections,
        corpus=job.run.plan.settings.images,
        uncalibrated=job.uncalibrated,
    )
    if config.copies_images:
        images = _planned(job.run, shard, rows["image_id"].to_pylist())
        fetched = read_images(ImageReader(config.allowed_hosts), images)
        examples = _with_pictures(examples, fetched, tally.left_out)
    with trouble_named(config.output), ExportFolder(config.output) as folder:
        teacher = job.run.plan.settings.teacher
        made_by = "possam" if teacher is None else teacher.name
        unit = Unit(number=shard, classes=job.classes, folder=folder, made_by=made_by)
        records = list(config.format.writer.write_unit(tally.count(examples), unit))
        head = tally.head()
        folder.commit(part_key(shard), part_bytes(head, records))
    return head


def kept_rows(rows: pa.Table, min_grade: str | None) -> pa.Table:
    """The labelled rows with at least the grade `min_grade`."""
    is_kept = pc.equal(rows["status"], OK)
    if min_grade is not None:
        grades = pc.struct_field(rows["quality"], "grade")
        is_kept = pc.and_(is_kept, pc.less_equal(grades, min_grade))  # "A" is the best
    return rows.filter(is_kept)


def _planned(run: LabelledRun, shard: int, image_ids: list[str]) -> list[InputImage]:
    with trouble_named(run.location):
        planned = {image.image_id: image for image in read_shard(RunFolder(run.location), shard)}
    return [planned[image_id] for image_id in image_ids]


def _with_pictures(
    examples: Iterator[Example], fetched: Iterator[Fetched], left_out: list[LeftOut]
) -> Iterator[Example]:
    """The examples whose images can still be read, with their pictures."""
    for example in examples:
        with trouble_named(example.uri):
            found = next(fetched)
        try:
            if isinstance(found.data, ImageError):
                raise found.data
            picture = make_picture(found.data, example.exif_orientation)
        except ImageError as error:
            left_out.append(
                LeftOut(image_id=example.image_id, uri=example.uri, code=error.code.value)
            )
            continue
        yield replace(example, picture=picture)
