"""The result of a probe, for people and for programs."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.label.stages import bottleneck
from pipelines.probe.estimate import MIN_PARTS, Estimate
from pipelines.probe.forecast import Forecast, MeasuredSample, Scope
from pipelines.settings.prices import PriceConfig
from possam_core.errors import counted

MAX_FAILURES_SHOWN = 10
LABEL_WIDTH = 14

TIMES = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))
BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes"))

Units = tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """A sample labelled by one worker, and the forecast for the whole plan."""

    scope: Scope
    measurement: MeasuredSample
    forecast: Forecast
    prices: PriceConfig

    @property
    def bottleneck(self) -> str:
        """What limits the speed of the run, as a sentence; empty if too little was timed."""
        measured = self.measurement
        return bottleneck(measured.stage_seconds, num_images=measured.num_images)

    def to_json(self) -> dict[str, Any]:
        """The whole report, in types that JSON has."""
        return {**asdict(self), "bottleneck": self.bottleneck}

    def to_text(self) -> str:
        """The report as text."""
        lines = [
            self._headline(),
            *(_line(*line) for line in self._measured()),
            *(f"  {f.code:<18} {f.uri}" for f in self.measurement.failures[:MAX_FAILURES_SHOWN]),
        ]
        if (num_more := len(self.measurement.failures) - MAX_FAILURES_SHOWN) > 0:
            lines.append(f"  and {num_more} more")
        scope = self.scope
        return "\n".join(
            [
                *lines,
                "",
                f"The whole plan, {counted(scope.num_images, 'image')} in"
                f" {counted(scope.num_shards, 'shard')}{self._intervals}:",
                *(_line(*line) for line in self._expected()),
                "",
                "Nothing was written.",
            ]
        )

    @property
    def _intervals(self) -> str:
        """Which figures of the forecast have intervals."""
        if self._has_intervals:
            return ", with 90 % intervals"
        failed = self.forecast.failed_images
        if failed.low == failed.high:
            return ""
        return ", with a 90 % interval of the failures alone"

    @property
    def _has_intervals(self) -> bool:
        return len(self.measurement.batch_images) >= MIN_PARTS

    def _headline(self) -> str:
        scope, num_images = self.scope, self.measurement.num_images
        source = counted(scope.num_images, "planned image" if scope.is_planned else "image")
        if num_images == scope.num_images:
            chosen = f"all of {source}"
        else:
            chosen = f"{num_images:,} of {source}, drawn at random,"
        return f"Labelled {chosen} in {scope.images} with {scope.model}."

    def _measured(self) -> Iterator[tuple[str, str]]:
        scope, measured, expected = self.scope, self.measurement, self.forecast
        startup = _figure(Estimate.exact(measured.startup_seconds), TIMES)
        yield "one worker", f"{_figure(expected.images_per_s)} images/s after {startup} of start-up"
        num_workers = scope.num_busy_workers
        if num_workers > 1:
            rate = _figure(expected.all_images_per_s)
            yield (
                f"{num_workers} workers",
                f"{rate} images/s, if they scale linearly; that is assumed, not measured",
            )
        if scope.has_default_workers:
            yield "", "as many as this machine would get; for a cluster, give --num-workers"
        if num_workers < scope.num_workers:
            idle = scope.num_workers - num_workers
            yield "", f"{idle} more would get no shard; for them, make --shard-size smaller"
        if not self._has_intervals:
            yield "", "too few images for an interval of this speed"
        if self.bottleneck:
            yield "time", self.bottleneck
        memory = _figure(Estimate.exact(measured.memory_bytes), BYTES)
        if measured.gpu_memory_bytes is not None:
            gpu_memory = _figure(Estimate.exact(measured.gpu_memory_bytes), BYTES)
            memory += f", and {gpu_memory} on its GPU"
        yield "memory", f"{memory} for each worker"
        yield "failed", f"{len(measured.failures)} of {counted(measured.num_images, 'image')}"

    def _expected(self) -> Iterator[tuple[str, str]]:
        expected, prices = self.forecast, self.prices
        yield "time", _figure(expected.hours.times(3600), TIMES)
        yield "worker-hours", _figure(expected.worker_hours)
        if self.scope.gpus_per_worker:
            yield "GPU-hours", _figure(expected.gpu_hours)
        yield "failed", f"{_whole(expected.failed_images)} of the images"
        if expected.failed_images.value > self.scope.error_budget * self.scope.num_images:
            yield "", f"over the error budget of {self.scope.error_budget:.0%}: the run would stop"
        yield "output", _figure(expected.output_bytes, BYTES)
        if expected.fetched_bytes is None:
            yield "fetched", "not known, for the corpus lists no sizes"
        else:
            yield "fetched", _figure(expected.fetched_bytes, BYTES)
        if expected.num_gets:
            yield "requests", f"{expected.num_gets:,} GET, {expected.num_puts:,} PUT and LIST"
        if expected.cost is None or expected.cost_of_storage_month is None:
            yield "cost", "not known; give prices in the settings file"
            return
        without = ", without egress" if expected.fetched_bytes is None else ""
        yield "cost", f"{_figure(expected.cost)} {prices.currency}{without}"
        if prices.storage_gb_month:
            month = _figure(expected.cost_of_storage_month)
            yield "", f"{month} {prices.currency} for each month that the labels are kept"


def _line(label: str, text: str) -> str:
    return f"{label:<{LABEL_WIDTH}} {text}"


def _figure(estimate: Estimate, units: Units = ((1.0, ""),)) -> str:
    """A figure in the largest unit of which it is at least one, with its interval if any."""
    size, unit = next((u for u in units if estimate.value >= u[0]), units[-1])
    text = f"{_number(estimate.value / size)} {unit}".rstrip()
    if estimate.low is None or estimate.high is None or estimate.low == estimate.high:
        return text
    return f"{text} ({_number(estimate.low / size)} to {_number(estimate.high / size)})"


def _whole(estimate: Estimate) -> str:
    """A number of things, rounded, with its interval if any."""
    ends = (estimate.low, estimate.high)
    text = f"{estimate.value:,.0f}"
    if None in ends or ends[0] == ends[1]:
        return text
    return f"{text} ({' to '.join(f'{end or 0:,.0f}' for end in ends)})"


def _number(number: float) -> str:
    """Three significant digits, but all digits of a large number."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
