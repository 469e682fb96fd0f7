"""Labels a small sample in this process and forecasts the whole plan; writes nothing."""

import resource
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from pipelines.corpus.image import InputImage
from pipelines.fetch.image_reader import ImageReader
from pipelines.label.job import ModelLoader, load_worker_model
from pipelines.label.labeller import BATCH_SIZE, ImageLabeller
from pipelines.label.rows import shard_bytes
from pipelines.planning.prepare import find_plan, resolve_settings
from pipelines.planning.sample import CorpusSample, draw_sample
from pipelines.probe.forecast import Failure, MeasuredSample, Scope, forecast
from pipelines.probe.report import ProbeReport
from pipelines.schema import Row
from pipelines.settings.label import LabelConfig
from pipelines.storage.addresses import is_s3
from pipelines.storage.store import failure_named
from possam_core.errors import ConfigError
from possam_core.processes import default_workers, torch_threads, usable_cpus

KILOBYTE = 1024  # Linux's unit of resident memory


def run_probe(
    config: LabelConfig, *, num_images: int = 64, load_model: ModelLoader | None = None
) -> ProbeReport:
    """Label `num_images` of the plan, or of the corpus if there is no plan; labels are discarded.

    Args:
        config: of the planned run.
        num_images: size of the sample.
        load_model: used instead of possam's own loader.

    Raises:
        PossamError: something about `config` cannot work, or the store fails.
    """
    if num_images < 1:
        raise ConfigError(f"expected a sample of at least 1 image, got {num_images}")
    if config.gpus_per_worker is None:
        config = replace(config, gpus_per_worker=float(torch.cuda.is_available()))
    settings, frozen = resolve_settings(config, find_plan(config)[1])
    config = replace(config, precision=settings.precision)
    with _reading_named(config.images):
        sample = draw_sample(config, settings, num_images)
    started = time.perf_counter()
    load = partial(load_worker_model, config, frozen.vocabulary, load_model)
    reader = ImageReader(config.allowed_hosts)
    with torch_threads(1):  # as the labeller sets it in a worker
        labeller = ImageLabeller(load, reader, consistency_share=config.consistency_share)
        with _reading_named(config.images):
            measurement = measure(labeller, sample.images, started_at=started)
    scope = _scope(config, sample)
    return ProbeReport(
        scope=scope,
        measurement=measurement,
        forecast=forecast(scope, measurement, config.prices),
        prices=config.prices,
    )


def measure(
    labeller: ImageLabeller, images: list[InputImage], *, started_at: float
) -> MeasuredSample:
    """Label `images` with one worker's `labeller`, after a first batch that is not counted.

    Args:
        labeller: new.
        images: the sample, in order.
        started_at: when loading the model began, by `time.perf_counter`.
    """
    for _ in labeller.rows(images[:BATCH_SIZE]):
        pass  # the first batch is slow: memory, kernels and connections are set up
    startup_seconds = time.perf_counter() - started_at
    before = dict(labeller.clock.seconds)
    rows: list[Row] = []
    times = [time.perf_counter()]
    for row in labeller.rows(images):
        rows.append(row)
        if len(rows) % BATCH_SIZE == 0 or len(rows) == len(images):
            times.append(time.perf_counter())
    seconds = labeller.clock.seconds
    file_bytes, row_bytes = _parquet_bytes(rows)
    is_on_gpu = torch.cuda.is_available() and torch.cuda.memory_reserved() > 0
    return MeasuredSample(
        startup_seconds=startup_seconds,
        batch_seconds=tuple(shares_of_time(np.diff(times).tolist())),
        batch_images=tuple(
            len(images[first : first + BATCH_SIZE]) for first in range(0, len(images), BATCH_SIZE)
        ),
        stage_seconds={stage: seconds[stage] - before[stage] for stage in seconds},
        row_bytes=tuple(row_bytes),
        file_bytes=file_bytes,
        image_bytes=tuple(i.size for i in images if i.size is not None),
        billed_share=sum(is_s3(i.container or i.uri) for i in images) / len(images),
        is_packed=all(i.container for i in images),
        failures=tuple(
            Failure(code=row["error_code"], uri=row["uri"])
            for row in rows
            if row["error_code"] is not None
        ),
        memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTE,
        gpu_memory_bytes=torch.cuda.max_memory_reserved() if is_on_gpu else None,
    )


def shares_of_time(intervals: Sequence[float]) -> list[float]:
    """The seconds of each batch, from the times between the ends of their rows.

    Rows are returned one batch late, while the next batch is computed: so the first interval covers
    two batches, and the last only the remaining encoding.
    """
    if len(intervals) == 1:
        return list(intervals)
    first, *middle, last = intervals
    shares = [first / 2, first / 2, *middle]
    shares[-1] += last
    return shares


def _parquet_bytes(rows: list[Row]) -> tuple[int, list[float]]:
    """Bytes of a file without rows, and the bytes that each of `rows` adds to the file of all.

    Each row's part is in proportion to the size of a file of that row alone.
    """
    empty = len(shard_bytes([], {}))
    alone = [len(shard_bytes([row], {})) - empty for row in rows]
    together = len(shard_bytes(rows, {})) - empty
    return empty, [together * one / sum(alone) for one in alone]


def _scope(config: LabelConfig, sample: CorpusSample) -> Scope:
    gpus = config.gpus_per_worker or 0.0
    return Scope(
        images=config.images,
        output=config.output,
        model=config.model,
        num_images=sample.num_images,
        num_shards=-(-sample.num_images // config.shard_size),
        shard_size=config.shard_size,
        num_workers=config.num_workers or _default_workers(gpus),
        has_default_workers=config.num_workers is None,
        gpus_per_worker=gpus,
        is_planned=sample.is_planned,
        is_output_billed=is_s3(config.output),
        error_budget=config.error_budget,
    )


def _default_workers(gpus_per_worker: float) -> int:
    """The default number of workers on this machine."""
    if gpus_per_worker:
        return max(1, int(torch.cuda.device_count() / gpus_per_worker))
    return default_workers(usable_cpus())


def _reading_named(images: str) -> AbstractContextManager[None]:
    return failure_named(
        f"expected to read a sample of {images}, but a store failed",
        remedy="try again, or check the address, AWS_ENDPOINT_URL and the credentials",
    )
