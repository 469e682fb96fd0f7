"""Forecasts what the whole plan takes, from a measured sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipelines.fetch.container_reader import RANGE_BYTES
from pipelines.label.stages import Stage
from pipelines.probe.estimate import Estimate, combine, mean_of, share_of
from pipelines.settings.prices import Cost, PriceConfig, Quantities, price

SECONDS_AN_HOUR = 3600
GETS_A_SHARD = 3  # its existence; its part of the plan; its file, when the run is counted
PUTS_A_SHARD = 3  # a listing of its attempts, billed as a PUT; a marker; its file


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The run for which a probe makes a forecast."""

    images: str
    output: str
    model: str
    num_images: int  # of the whole plan
    num_shards: int
    shard_size: int
    num_workers: int
    has_default_workers: bool  # no number was given, so it is this machine's default
    gpus_per_worker: float
    is_planned: bool  # the run folder has a plan; else the corpus was only listed
    is_output_billed: bool  # per request: it is in a bucket
    error_budget: float  # share of failed images at which the run stops

    @property
    def num_busy_workers(self) -> int:
        """Workers that get a shard."""
        return min(self.num_workers, self.num_shards)

    @property
    def num_images_of_busiest(self) -> int:
        """Images of the worker that ends last: a shard is not divided."""
        num_shards = -(-self.num_shards // self.num_busy_workers)
        return min(self.num_images, num_shards * self.shard_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An image of the sample that got no labels."""

    code: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSample:
    """Measurements of one worker on the sample."""

    startup_seconds: float  # to load the model and label a first batch
    batch_seconds: tuple[float, ...]
    batch_images: tuple[int, ...]
    stage_seconds: Mapping[Stage, float]
    row_bytes: tuple[float, ...]  # added by each image to the file of its shard
    file_bytes: int  # of such a file without rows
    image_bytes: tuple[int, ...]  # of the images whose size is known
    billed_share: float  # of the images: those that are in a bucket
    is_packed: bool  # in tar or Parquet files
    failures: tuple[Failure, ...]
    memory_bytes: int  # resident, at its peak
    gpu_memory_bytes: int | None  # None: no GPU was used

    @property
    def num_images(self) -> int:
        """Size of the sample."""
        return sum(self.batch_images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The forecast for the whole plan."""

    images_per_s: Estimate  # of one worker
    all_images_per_s: Estimate  # of all that get a shard, if they scale linearly
    failed_images: Estimate
    hours: Estimate
    worker_hours: Estimate  # each worker counts until the last one ends
    gpu_hours: Estimate
    output_bytes: Estimate
    fetched_bytes: Estimate | None  # None: the corpus lists no sizes
    num_gets: int
    num_puts: int  # and listings
    cost: Estimate | None = None  # None: no price is given
    cost_of_storage_month: Estimate | None = None


def forecast(scope: Scope, measurement: MeasuredSample, prices: PriceConfig) -> Forecast:
    """The forecast for `scope` from `measurement`."""
    image_seconds = mean_of(measurement.batch_seconds, measurement.batch_images)
    hours = image_seconds.times(
        scope.num_images_of_busiest / SECONDS_AN_HOUR,
        plus=measurement.startup_seconds / SECONDS_AN_HOUR,
    )
    worker_hours = hours.times(scope.num_busy_workers)
    sizes = measurement.image_bytes
    fetched_bytes = _mean(sizes, scope).times(scope.num_images) if any(sizes) else None
    num_gets, num_puts = _requests(scope, measurement, fetched_bytes)
    quantities = Forecast(
        images_per_s=image_seconds.inverse(),
        all_images_per_s=image_seconds.inverse().times(scope.num_busy_workers),
        failed_images=_failed_images(scope, measurement),
        hours=hours,
        worker_hours=worker_hours,
        gpu_hours=worker_hours.times(scope.gpus_per_worker),
        output_bytes=_mean(measurement.row_bytes, scope).times(
            scope.num_images, plus=scope.num_shards * measurement.file_bytes
        ),
        fetched_bytes=fetched_bytes,
        num_gets=num_gets,
        num_puts=num_puts,
    )
    return _priced(quantities, prices) if prices.is_given else quantities


def _priced(expected: Forecast, prices: PriceConfig) -> Forecast:
    """`expected` with its cost."""

    def cost(worker_hours: float, fetched_bytes: float, output_bytes: float) -> Cost:
        quantities = Quantities(
            worker_hours=worker_hours,
            num_gets=expected.num_gets,
            num_puts=expected.num_puts,
            fetched_bytes=fetched_bytes,
            output_bytes=output_bytes,
        )
        return price(quantities, prices)

    fetched_bytes = expected.fetched_bytes or Estimate.exact(0)
    used = (expected.worker_hours, fetched_bytes, expected.output_bytes)
    return replace(
        expected,
        cost=combine(lambda *amounts: cost(*amounts).run, *used),
        cost_of_storage_month=combine(lambda *amounts: cost(*amounts).storage_month, *used),
    )


def _failed_images(scope: Scope, measurement: MeasuredSample) -> Estimate:
    num_failures, num_images = len(measurement.failures), measurement.num_images
    if num_images == scope.num_images:
        return Estimate.exact(num_failures)
    return share_of(num_failures, num_images).times(scope.num_images)


def _mean(figures: Sequence[float], scope: Scope) -> Estimate:
    """The mean over the plan of a figure known for some images; exact if known for all."""
    mean = mean_of(figures, [1] * len(figures))
    return Estimate.exact(mean.value) if len(figures) == scope.num_images else mean


def _requests(
    scope: Scope, measurement: MeasuredSample, fetched_bytes: Estimate | None
) -> tuple[int, int]:
    """GETs, and PUTs with listings; retries are not counted."""
    if measurement.is_packed and fetched_bytes:  # ranges end with the shard
        num_reads = fetched_bytes.value / RANGE_BYTES + scope.num_shards
    else:
        num_reads = scope.num_images
    billed_shards = scope.num_shards if scope.is_output_billed else 0
    num_gets = round(num_reads * measurement.billed_share) + GETS_A_SHARD * billed_shards
    return num_gets, PUTS_A_SHARD * billed_shards
