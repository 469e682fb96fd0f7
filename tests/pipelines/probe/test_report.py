import json
from dataclasses import replace

import pytest

from pipelines.probe.estimate import Estimate
from pipelines.probe.forecast import Failure, MeasuredSample, Scope, forecast
from pipelines.probe.report import ProbeReport
from pipelines.settings.prices import PriceConfig
from tests.pipelines.probe.cases import MEASUREMENT, SCOPE

PRICES = PriceConfig(currency="EUR", worker_hour=3.6, storage_gb_month=2.0)


def report(
    scope: Scope = SCOPE, measurement: MeasuredSample = MEASUREMENT, prices: PriceConfig = PRICES
) -> ProbeReport:
    return ProbeReport(
        scope=scope,
        measurement=measurement,
        forecast=forecast(scope, measurement, prices),
        prices=prices,
    )


def test_the_whole_report_reads_like_this() -> None:
    failures = (Failure(code="truncated", uri="s3://corpus/photos/17.jpg"),)
    plain = report(measurement=replace(MEASUREMENT, failures=failures))
    less_certain = replace(
        plain.forecast,
        images_per_s=Estimate(value=2.0, low=1.694, high=2.355),
        all_images_per_s=Estimate(value=16.0, low=13.55, high=18.84),
        failed_images=Estimate(value=3125, low=777.4, high=11713),
        hours=Estimate(value=0.75, low=0.5, high=1.5),
        worker_hours=Estimate(value=6, low=4, high=12),
        gpu_hours=Estimate(value=3, low=2, high=6),
        output_bytes=Estimate(value=7e8, low=6e8, high=1.1e9),
        cost=Estimate(value=52.08, low=44.06, high=161.6),
    )
    assert replace(plain, forecast=less_certain).to_text().splitlines() == [
        "Labelled 32 of 100,000 planned images, drawn at random, in s3://corpus/photos with"
        " possam-tiny.",
        "one worker     2 (1.69 to 2.35) images/s after 10 seconds of start-up",
        "8 workers      16 (13.6 to 18.8) images/s, if they scale linearly; that is assumed, not"
        " measured",
        "time           bound by model (fetch 6%, decode 12%, model 75%, encode 6%, write 0%); to"
        " go faster, use more workers, a GPU for each, or a smaller model",
        "memory         2 GB for each worker",
        "failed         1 of 32 images",
        "  truncated          s3://corpus/photos/17.jpg",
        "",
        "The whole plan, 100,000 images in 100 shards, with 90 % intervals:",
        "time           45 minutes (30 to 90)",
        "worker-hours   6 (4 to 12)",
        "GPU-hours      3 (2 to 6)",
        "failed         3,125 (777 to 11,713) of the images",
        "output         700 MB (600 to 1,100)",
        "fetched        20 GB",
        "requests       100,300 GET, 300 PUT and LIST",
        "cost           52.1 (44.1 to 162) EUR",
        "               1.4 EUR for each month that the labels are kept",
        "",
        "Nothing was written.",
    ]


def test_a_small_corpus_is_said_to_be_probed_whole_and_without_certainty() -> None:
    scope = replace(SCOPE, num_images=12, num_shards=1, is_planned=False)
    few = replace(
        MEASUREMENT,
        batch_seconds=(4.0, 2.0),
        batch_images=(8, 4),
        row_bytes=(7000.0,) * 12,
        image_bytes=(),
    )
    text = report(scope, few).to_text()
    assert "Labelled all of 12 images in s3://corpus/photos with possam-tiny." in text
    assert "too few images for an interval" in text
    assert "\none worker     2 images/s" in text
    assert "\ntime           16 seconds\n" in text
    assert "8 workers" not in text
    assert "\nThe whole plan, 12 images in 1 shard:\n" in text
    assert "7 more would get no shard; for them, make --shard-size smaller" in text
    assert "fetched        not known" in text
    assert "EUR, without egress" in text


def test_of_a_small_sample_failures_alone_have_an_interval_and_are_counted_in_whole() -> None:
    few = replace(
        MEASUREMENT,
        batch_seconds=(4.0, 4.0),
        batch_images=(8, 8),
        row_bytes=(7000.0,) * 16,
        image_bytes=(),
        failures=(Failure(code="empty", uri="0.jpg"),),
    )
    text = report(replace(SCOPE, num_images=60, num_shards=1), few).to_text()
    assert "too few images for an interval of this speed" in text
    assert "in 1 shard, with a 90 % interval of the failures alone:" in text
    assert "failed         4 (1 to 14) of the images" in text


def test_no_price_no_money() -> None:
    text = report(prices=PriceConfig()).to_text()
    assert "cost           not known; give prices in the settings file" in text
    assert "USD" not in text


def test_failures_beyond_the_budget_are_announced_and_only_some_are_named() -> None:
    failures = tuple(Failure(code="empty", uri=f"{i}.jpg") for i in range(17))
    text = report(measurement=replace(MEASUREMENT, failures=failures)).to_text()
    assert "over the error budget of 50%: the run would stop" in text
    assert "  empty              9.jpg\n  and 7 more\n" in text
    assert "10.jpg" not in text


@pytest.mark.parametrize("num_failures", [0, 16])
def test_failures_within_the_budget_are_not(num_failures: int) -> None:
    failures = (Failure(code="empty", uri="a"),) * num_failures
    assert "budget" not in report(measurement=replace(MEASUREMENT, failures=failures)).to_text()


def test_memory_of_a_gpu_and_a_default_number_of_workers_are_reported() -> None:
    text = report(
        replace(SCOPE, has_default_workers=True),
        replace(MEASUREMENT, gpu_memory_bytes=3 * 10**9),
    ).to_text()
    assert "2 GB, and 3 GB on its GPU for each worker" in text
    assert "as many as this machine would get; for a cluster, give --num-workers" in text


def test_nothing_is_requested_of_a_local_disk() -> None:
    local = replace(MEASUREMENT, billed_share=0.0)
    assert "requests" not in report(replace(SCOPE, is_output_billed=False), local).to_text()


def test_json_holds_every_figure() -> None:
    content = json.loads(json.dumps(report().to_json()))
    assert content["scope"]["num_images"] == 100_000
    assert content["measurement"]["stage_seconds"]["model"] == 12.0
    assert content["forecast"]["images_per_s"] == {"value": 2.0, "low": 2.0, "high": 2.0}
    assert content["prices"]["currency"] == "EUR"
    assert content["bottleneck"].startswith("bound by model")
