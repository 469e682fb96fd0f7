"""A random sample of a plan or, without one, of the corpus; writes nothing to the run."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.corpus.image import InputImage
from pipelines.corpus.source import read_source, require_corpus
from pipelines.planning.candidates import CANDIDATE_SCHEMA, Candidates, drop
from pipelines.planning.prepare import find_plan
from pipelines.run.folder import RunFolder
from pipelines.run.parts import read_shard
from pipelines.run.plan import Plan, PlanSettings, refuse_other_settings
from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError

SEED = 0
MIN_SHARDS = 16  # of a plan to draw from, if it has so many
NEIGHBOURS = 8  # drawn together from tar and Parquet files, which are read in long ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSample:
    """Images drawn at random, in the order of the corpus, and the population they represent."""

    images: list[InputImage]
    num_images: int  # of the whole plan
    is_planned: bool  # there is a plan; else the corpus was listed


def draw_sample(config: LabelConfig, settings: PlanSettings, num_images: int) -> CorpusSample:
    """Up to `num_images` of the images that the run would label.

    Raises:
        ConfigError: there is no image to draw from, or the plan has other settings.
    """
    run, plan = find_plan(config)
    if run is not None and plan is not None:
        require_corpus(config.images)
        refuse_other_settings(run, plan, settings)
        images, _ = draw(some_shards(run, plan, num_images), num_images)
        return CorpusSample(images=images, num_images=plan.num_images, is_planned=True)
    with tempfile.TemporaryDirectory(prefix="possam-probe-") as folder:
        images, num_listed = draw(_listed(config, Path(folder)), num_images)
    if not images:
        raise ConfigError(
            f"expected at least one image to label in {config.images}, but --sample or --since"
            " leaves none; widen them"
        )
    return CorpusSample(images=images, num_images=num_listed, is_planned=False)


def draw(batches: Iterable[pa.RecordBatch], size: int) -> tuple[list[InputImage], int]:
    """A random sample of a stream, the same every time, and the number of items in the stream.

    Each image gets a random number, and those with the smallest numbers are kept; neighbours in a
    tar or Parquet file get the same number.
    """
    random = np.random.default_rng(SEED)
    numbers, rows, num_seen = np.empty(0), [], 0
    for batch in batches:
        num_seen += batch.num_rows
        together = NEIGHBOURS if batch["container"].null_count == 0 else 1
        drawn = random.random(-(-batch.num_rows // together)).repeat(together)[: batch.num_rows]
        limit = numbers.max() if len(numbers) == size else 1.0
        chosen = np.flatnonzero(drawn < limit)
        chosen = np.sort(chosen[np.argsort(drawn[chosen], kind="stable")[:size]])
        rows += batch.take(pa.array(chosen)).to_pylist()
        numbers = np.concatenate([numbers, drawn[chosen]])
        kept = np.sort(np.argsort(numbers, kind="stable")[:size])
        numbers, rows = numbers[kept], [rows[i] for i in kept]
    return [InputImage(**row) for row in rows], num_seen


def some_shards(run: RunFolder, plan: Plan, num_images: int) -> Iterator[pa.RecordBatch]:
    """Some shards of a plan, drawn at random: enough for `num_images`."""
    num_needed = max(MIN_SHARDS, -(-num_images // plan.settings.shard_size) + 1)
    random = np.random.default_rng(SEED)
    shards = random.permutation(plan.num_shards)[:num_needed]
    for shard in sorted(shards.tolist()):
        images = [asdict(image) for image in read_shard(run, shard)]
        yield pa.RecordBatch.from_pylist(images, schema=CANDIDATE_SCHEMA)


def _listed(config: LabelConfig, folder: Path) -> Iterator[pa.RecordBatch]:
    """The images that a plan would hold, listed again; `folder` is temporary."""
    since = None if config.since is None else datetime.fromisoformat(config.since)
    with closing(Candidates(folder, sample=config.sample, since=since)) as candidates:
        for batch in read_source(config.images, allowed_hosts=config.allowed_hosts):
            candidates.add(batch)
            if config.limit is not None and candidates.num_candidates >= config.limit:
                break
        repeated = candidates.repeated()
        num_left = candidates.num_candidates if config.limit is None else config.limit
        for first, batch in candidates.batches():
            kept = drop(batch, first, repeated.values()).slice(0, num_left)
            num_left -= kept.num_rows
            yield kept
