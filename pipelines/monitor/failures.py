"""The failed images of a run by error code, with advice for each code."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.corpus.container import open_container
from pipelines.monitor.advice import ADVICE, CAN_RETRY
from pipelines.run.committed import not_parquet
from pipelines.run.folder import RunFolder, shard_key
from pipelines.run.manifest import read_manifest
from pipelines.run.newest import NewerImages
from pipelines.run.plan import Plan, load_rounds
from pipelines.schema import ERROR
from pipelines.storage.addresses import normalise_location
from pipelines.storage.store import trouble_named
from possam_core.ahead import in_order
from possam_core.errors import ConfigError
from possam_core.images.decode import ImageErrorCode

COLUMNS = ["image_id", "uri", "status", "error_code", "error_message"]
READ_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedImage:
    """One image that failed."""

    uri: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeReport:
    """The images that failed for one reason."""

    code: ImageErrorCode
    num_images: int
    share: float  # of the images that have a row so far, in [0, 1]
    advice: str  # what to do
    can_retry: bool  # `possam retry` may help; other reasons need other files
    samples: tuple[FailedImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReport:
    """The failures of a run, by its newest rows."""

    location: str
    num_images: int  # planned
    num_rows: int  # of images labelled or failed so far
    num_failed: int
    codes: tuple[CodeReport, ...]  # the most frequent first

    @property
    def num_open(self) -> int:
        """The number of images that have no row yet."""
        return self.num_images - self.num_rows

    @property
    def retry_command(self) -> str | None:
        """The command that retries the images that may succeed; None if none may."""
        codes = ",".join(report.code for report in self.codes if report.can_retry)
        return f"possam retry {self.location} --codes {codes}" if codes else None

    def to_json(self) -> dict[str, Any]:
        """The same for programs."""
        return asdict(self) | {"num_open": self.num_open, "retry_command": self.retry_command}


def read_failures(location: str, *, samples: int = 3) -> FailureReport:
    """The failures of the run at `location`, finished or not, with examples for each code.

    Args:
        location: of the run folder.
        samples: how many images to name for each code.

    Raises:
        ConfigError: there is no run, its store does not answer, or a file of it is damaged.
    """
    run = RunFolder(normalise_location(location))
    with trouble_named(run.location):
        plans = load_rounds(run)
        if not plans:
            raise ConfigError(
                f"expected a planned run at {run.location}, found no plan; make one with possam"
                " label"
            )
        found = _read_some(run, plans, samples) or _read_all(run, plans, samples)
    return FailureReport(
        location=run.location,
        num_images=plans[0].num_images,
        num_rows=found.num_rows,
        num_failed=found.counts.total(),
        codes=tuple(found.reports()),
    )


@dataclass(slots=True)
class _Found:
    """Counts over the rows read so far."""

    max_samples: int
    num_rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)  # by code
    samples: dict[str, list[FailedImage]] = field(default_factory=dict)  # by code

    def add(self, rows: pa.Table) -> None:
        """Count rows, and keep samples of the failed ones."""
        self.num_rows += rows.num_rows
        failed = rows.filter(pc.equal(rows["status"], ERROR))
        self.counts.update(failed["error_code"].to_pylist())
        for code in failed["error_code"].unique().to_pylist():
            samples = self.samples.setdefault(code, [])
            others = failed.filter(pc.equal(failed["error_code"], code))
            for row in others.slice(0, self.max_samples - len(samples)).to_pylist():
                samples.append(FailedImage(uri=row["uri"], message=row["error_message"] or ""))

    def lacks(self, codes: Iterable[str], wanted: Counter[str]) -> bool:
        """Whether there are fewer samples of one of `codes` than `wanted`."""
        return any(len(self.samples.get(c, ())) < min(self.max_samples, wanted[c]) for c in codes)

    def reports(self) -> Iterator[CodeReport]:
        """One for each code, the most frequent first."""
        for name, num_images in sorted(self.counts.items(), key=lambda item: (-item[1], item[0])):
            code = ImageErrorCode(name)
            yield CodeReport(
                code=code,
                num_images=num_images,
                share=num_images / self.num_rows,
                advice=ADVICE[code],
                can_retry=code in CAN_RETRY,
                samples=tuple(self.samples.get(name, ())),
            )


def _read_all(run: RunFolder, plans: list[Plan], max_samples: int) -> _Found:
    """The counts over all rows of a run that need not be finished."""
    found = _Found(max_samples=max_samples)
    newer = _add_later_rounds(run, plans, found)
    keys = [shard_key(shard) for shard in sorted(run.committed_shards())]
    for rows in _read_each(run, keys):
        found.add(newer.without(rows))
    return found


def _read_some(run: RunFolder, plans: list[Plan], max_samples: int) -> _Found | None:
    """The manifest's counts, and samples from as few files as possible; None: no manifest."""
    manifest = read_manifest(run)
    if manifest is None or len(manifest.files) < sum(plan.num_shards for plan in plans):
        return None
    found = _Found(max_samples=max_samples)
    newer = _add_later_rounds(run, plans, found)
    wanted = Counter(manifest.totals.errors)
    files = {file.key: file for file in manifest.files}
    keys = map(shard_key, range(plans[0].num_shards))
    for rows in _read_each(run, (k for k in keys if found.lacks(files[k].errors, wanted))):
        found.add(newer.without(rows))
    found.num_rows, found.counts = manifest.totals.images, wanted
    return found


def _add_later_rounds(run: RunFolder, plans: list[Plan], found: _Found) -> NewerImages:
    """Add the newest row of each image of a later round; the images that have one."""
    newer = NewerImages()
    for plan in reversed(plans[1:]):
        shards = sorted(run.committed_shards(plan.round))
        tables = list(_read_each(run, (shard_key(shard, plan.round) for shard in shards)))
        for rows in tables:
            found.add(newer.without(rows))
        newer.add(chunk for table in tables for chunk in table["image_id"].chunks)
    return newer


def _read_each(run: RunFolder, keys: Iterable[str]) -> Iterator[pa.Table]:
    """`COLUMNS` of each file, in order; little else of each file is fetched."""
    sources = (_read(f"{run.location}/{key}") for key in keys)
    return in_order(sources, threads=READ_THREADS, ahead=1)


def _read(uri: str) -> Iterator[pa.Table]:
    try:
        with open_container(uri) as stream:
            yield pq.ParquetFile(stream, pre_buffer=True).read(columns=COLUMNS)
    except pa.ArrowInvalid as error:
        raise not_parquet(uri, error) from error
