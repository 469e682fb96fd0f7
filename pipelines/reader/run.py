"""`open_run`: the labels of a run as images, tables and data sets."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.reader.categories import categories_of
from pipelines.reader.image import LabelledImage, LabelledShard, PlannedImages
from pipelines.reader.where import Filter, FlatRows, Where
from pipelines.run.classes import Category, read_categories
from pipelines.run.committed import (
    Commits,
    Correction,
    find_commits,
    read_rows,
    substitute,
)
from pipelines.run.folder import SCHEMA_VERSION, RunFolder, shard_key
from pipelines.run.grading import require_calibrated, why_uncalibrated
from pipelines.run.manifest import current_manifest
from pipelines.run.newer_files import NewerFiles
from pipelines.run.plan import Plan, load_plan
from pipelines.schema import OK, ROW_SCHEMA
from pipelines.storage.store import trouble_named
from possam_core.errors import ConfigError

if TYPE_CHECKING:
    import ray.data
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

    from pipelines.reader.torch_dataset import LabelledDataset, LabelledStream


def open_run(location: str, *, where: Where = None, uncalibrated: bool = False) -> "LabelledRun":
    """The committed labels of the run at `location`.

    Args:
        location: the run folder, local or `s3://`.
        where: a condition on images: SQL, such as `grade <= 'B' and mean_score > 0.6`, or an
            expression of `pyarrow.compute`, over `where.FLAT_SCHEMA`.
        uncalibrated: `where` may name the grade even where it is not calibrated.

    Raises:
        ConfigError: there is no run, it has another schema, or `where` is invalid or names a
            measure that the run's model does not know, or a grade that is not calibrated here.

    Example:
        >>> from pipelines import open_run
        >>> good = open_run("run", where="mean_score > 0.65")
        >>> [round(image.row["quality"]["mean_score"], 1) for image in good]
        [0.9, 0.7]
    """
    with trouble_named(location):
        run, commits = find_commits(location)
        plan = load_plan(run)
    assert plan is not None  # `find_commits` checked it
    opened = LabelledRun(location=run.location, where=where, plan=plan, commits=commits)
    if opened.filter.names("grade") and not uncalibrated:
        require_calibrated(opened.uncalibrated)
    opened.filter.refuse_unknown(map(opened._newest, opened.shards()))
    return opened


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledRun:
    """A run to read from; it holds file names but no rows, so it is cheap to create and to send.

    It does not change after it was opened: open it again to see later commits.

    Example:
        >>> from pipelines import open_run
        >>> run = open_run("run")
        >>> sum(table.num_rows for table in run.tables())  # failed images among them
        5
        >>> len(list(run))
        4
    """

    location: str
    where: Where
    plan: Plan
    commits: Commits

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: self.__dict__[field.name] for field in fields(self)}

    @property
    def corpus(self) -> str:
        """Location of the images themselves."""
        return self.plan.settings.images

    @property
    def where_text(self) -> str | None:
        """The condition as text."""
        return None if self.where is None else str(self.where)

    @property
    def provenance(self) -> dict[str, str]:
        """Where the labels come from."""
        settings = self.plan.settings
        teacher = settings.teacher
        return {
            "plan_id": self.plan.plan_id,
            "model": settings.model,
            "model_sha256": settings.model_sha256,
            "vocabulary": settings.vocabulary,
            "vocabulary_sha256": settings.vocabulary_sha256,
            "schema_version": SCHEMA_VERSION,
            **({"teacher": json.dumps(teacher.to_json())} if teacher else {}),
        }

    @cached_property
    def uncalibrated(self) -> str | None:
        """Why the grades promise nothing here, judged by what is committed; None: they do."""
        with trouble_named(self.location):
            return why_uncalibrated(self._run)

    @cached_property
    def filter(self) -> Filter:
        """The filter of rows by `where`."""
        return Filter(self.where)

    @cached_property
    def categories(self) -> tuple[Category, ...]:
        """The classes that the run was labelled with; those in its rows if it stores no list."""
        with trouble_named(self.location):
            return read_categories(self._run) or categories_of(map(self._newest, self.shards()))

    @cached_property
    def corrections(self) -> dict[str, Correction]:
        """The author and time of each correction, by image id."""
        with trouble_named(self.location):
            return self._newer.corrections()

    def shards(self) -> list[int]:
        """The committed shards, ascending."""
        return list(self.commits.shards)

    def read_shard(self, shard: int) -> pa.Table:
        """The kept rows of one shard, of `schema.ROW_SCHEMA`, in plan order.

        Each image has its corrected row, or else its newest; failed images are included.

        Raises:
            ConfigError: a file was deleted or damaged after it was committed.
        """
        return self.filter.keep(self._newest(shard)).replace_schema_metadata(self.provenance)

    def tables(self) -> Iterator[pa.Table]:
        """The kept rows, one shard at a time."""
        return map(self.read_shard, self.commits.shards)

    def images_in(self, shard: int) -> Iterator[LabelledImage]:
        """The kept images of one shard that have labels."""
        images = self.labelled_shard(shard)
        return (images[i] for i in range(len(images)))

    def labelled_shard(self, shard: int) -> LabelledShard:
        """The same images as a sequence, so that one can be read without the others."""
        rows = self.read_shard(shard)
        return LabelledShard(
            rows=rows.filter(pc.equal(rows["status"], OK)),
            corrections=self.corrections,
            class_indices=self._class_indices,
            planned=PlannedImages(location=self.location, shard=shard),
        )

    def __iter__(self) -> Iterator[LabelledImage]:
        """The kept images that have labels, in plan order; one shard at a time in memory."""
        for shard in self.commits.shards:
            yield from self.images_in(shard)

    def count_labelled(self) -> list[int]:
        """How many kept images with labels each shard has.

        From the manifest if it is current and nothing is filtered; else every shard is read once.
        """
        if self.where is None and not self.commits.retries:
            manifest = current_manifest(self._run, [self.plan])
            if manifest is not None:
                by_key = {file.key: file.ok for file in manifest.files}
                return [by_key[shard_key(shard)] for shard in self.commits.shards]
        return [len(self.labelled_shard(shard)) for shard in self.commits.shards]

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """The kept rows as a stream, which is read as it is consumed.

        Args:
            columns: columns of `schema.ROW_SCHEMA`; None: all.

        Raises:
            ConfigError: there is no such column.
        """
        names = ROW_SCHEMA.names if columns is None else list(columns)
        if unknown := set(names) - set(ROW_SCHEMA.names):
            raise ConfigError(
                f"expected columns among {', '.join(ROW_SCHEMA.names)}, got"
                f" {', '.join(sorted(unknown))}; leave them out"
            )
        schema = pa.schema([ROW_SCHEMA.field(name) for name in names], self.provenance)
        batches = (b for rows in self.tables() for b in rows.select(names).to_batches())
        return pa.RecordBatchReader.from_batches(schema, batches)

    def to_duckdb(self, connection: "DuckDBPyConnection | None" = None) -> "DuckDBPyRelation":
        """The kept rows in the flat columns of `where`, read again by every query.

        Args:
            connection: to query with; None: a new one, in memory.
        """
        import duckdb  # a tenth of a second, as in `where`

        return (connection or duckdb.connect(":memory:")).from_arrow(FlatRows(self.tables))

    def to_torch(self, *, with_pixels: bool = False) -> "LabelledDataset":
        """The kept images that have labels as a `torch` dataset with indices.

        Args:
            with_pixels: also read the images.
        """
        from pipelines.reader.torch_dataset import LabelledDataset  # seconds

        return LabelledDataset(self, with_pixels=with_pixels)

    def to_torch_iterable(
        self, *, rank: int = 0, world_size: int = 1, with_pixels: bool = False
    ) -> "LabelledStream":
        """The same images as a stream; each worker of each rank reads different shards.

        Args:
            rank: of this process, from 0.
            world_size: how many processes share the run.
            with_pixels: also read the images.
        """
        from pipelines.reader.torch_dataset import LabelledStream

        return LabelledStream(self, rank=rank, world_size=world_size, with_pixels=with_pixels)

    def to_ray(self) -> "ray.data.Dataset":
        """The kept rows as a Ray Dataset, one row an image; its tasks read the shards."""
        from pipelines.reader.ray_dataset import ray_dataset  # seconds

        return ray_dataset(self)

    @cached_property
    def _run(self) -> RunFolder:
        return RunFolder(self.location)

    @cached_property
    def _newer(self) -> NewerFiles:
        with trouble_named(self.location):
            return NewerFiles(self._run, self.commits.newer)

    @cached_property
    def _class_indices(self) -> dict[int, int]:
        return {category.id: i for i, category in enumerate(self.categories)}

    def _newest(self, shard: int) -> pa.Table:
        """All rows of a shard, before the filter."""
        with trouble_named(self.location):
            rows = read_rows(self._run, shard_key(shard))
            return substitute(rows, self._newer.rows_of(rows["image_id"]))
