from dataclasses import replace

import pytest

from pipelines.fetch.container_reader import RANGE_BYTES
from pipelines.probe.estimate import Estimate
from pipelines.probe.forecast import Failure, forecast
from pipelines.settings.prices import PriceConfig
from tests.pipelines.probe.cases import MEASUREMENT, SCOPE

NO_PRICES = PriceConfig()


def test_time_is_that_of_the_worker_with_the_most_shards() -> None:
    expected = forecast(SCOPE, MEASUREMENT, NO_PRICES)
    # 100 shards for 8 workers: four of them get 13 shards, 13,000 images, 6500 s, and 10 to start.
    assert expected.hours.value == pytest.approx(6510 / 3600)
    assert expected.worker_hours.value == pytest.approx(8 * 6510 / 3600)
    assert expected.gpu_hours.value == pytest.approx(4 * 6510 / 3600)
    assert expected.images_per_s == Estimate.exact(2.0)
    assert expected.all_images_per_s == Estimate.exact(16.0)


def test_workers_without_a_shard_do_not_count() -> None:
    scope = replace(SCOPE, num_images=1500, num_shards=2)
    expected = forecast(scope, MEASUREMENT, NO_PRICES)
    assert expected.hours.value == pytest.approx((1000 * 0.5 + 10) / 3600)
    assert expected.worker_hours.value == pytest.approx(2 * 510 / 3600)
    assert expected.all_images_per_s.value == 4.0


def test_one_worker_takes_no_more_images_than_there_are() -> None:
    scope = replace(SCOPE, num_images=1500, num_shards=2, num_workers=1)
    assert forecast(scope, MEASUREMENT, NO_PRICES).hours.value == pytest.approx(760 / 3600)


def test_bytes_and_requests_add_up() -> None:
    expected = forecast(SCOPE, MEASUREMENT, NO_PRICES)
    assert expected.output_bytes == Estimate.exact(100_000 * 7000 + 100 * 5000)
    assert expected.fetched_bytes == Estimate.exact(100_000 * 200_000)
    # An image each, and for a shard: committed already? its plan, its file to count.
    assert expected.num_gets == 100_000 + 3 * 100
    assert expected.num_puts == 3 * 100  # a listing, a marker, the file


def test_only_what_lies_in_a_bucket_is_requested() -> None:
    local = replace(MEASUREMENT, billed_share=0.0)
    expected = forecast(SCOPE, local, NO_PRICES)
    assert (expected.num_gets, expected.num_puts) == (300, 300)
    expected = forecast(replace(SCOPE, is_output_billed=False), MEASUREMENT, NO_PRICES)
    assert (expected.num_gets, expected.num_puts) == (100_000, 0)


def test_packed_images_are_read_by_long_ranges() -> None:
    packed = replace(MEASUREMENT, is_packed=True, image_bytes=(RANGE_BYTES // 64,) * 32)
    expected = forecast(replace(SCOPE, num_images=6400, num_shards=7), packed, NO_PRICES)
    assert expected.num_gets == 100 + 7 + 3 * 7


def test_sizes_that_are_not_known_are_not_invented() -> None:
    expected = forecast(SCOPE, replace(MEASUREMENT, image_bytes=()), NO_PRICES)
    assert expected.fetched_bytes is None
    assert expected.num_gets == 100_300


def test_costs_are_quantities_times_prices() -> None:
    prices = PriceConfig(
        worker_hour=3.6, get_per_1000=0.1, put_per_1000=1.0, egress_per_gb=0.5, storage_gb_month=2.0
    )
    expected = forecast(SCOPE, MEASUREMENT, prices)
    # 8 * 6510 s at 0.001 a second; 100.3 thousand GETs; 0.3 thousand PUTs; 20 GB.
    assert expected.cost == Estimate.exact(pytest.approx(52.08 + 10.03 + 0.3 + 10.0))
    assert expected.cost_of_storage_month == Estimate.exact(pytest.approx(2 * 0.7005))


def test_without_prices_there_is_no_cost() -> None:
    expected = forecast(SCOPE, MEASUREMENT, NO_PRICES)
    assert (expected.cost, expected.cost_of_storage_month) == (None, None)


def test_the_cost_is_as_uncertain_as_what_it_is_made_of() -> None:
    uneven = replace(MEASUREMENT, batch_seconds=(2.0, 3.0, 5.0, 6.0))
    expected = forecast(SCOPE, uneven, PriceConfig(worker_hour=3.0))
    assert expected.hours.low < 6510 / 3600 < expected.hours.high
    assert expected.cost.low == pytest.approx(3 * 8 * expected.hours.low)
    assert expected.cost.high == pytest.approx(3 * 8 * expected.hours.high)


def test_failures_are_expected_at_wilsons_share_of_the_plan() -> None:
    failures = (Failure(code="truncated", uri="a"), Failure(code="empty", uri="b"))
    failed = forecast(SCOPE, replace(MEASUREMENT, failures=failures), NO_PRICES).failed_images
    assert failed.value == 100_000 * 2 / 32
    # (2/32 + z^2/64 -+ z * sqrt(2/32 * 30/32 / 32 + z^2 / 4096)) / (1 + z^2/32), z^2 = 2.7055
    assert (failed.low, failed.high) == pytest.approx((2092, 17216), rel=1e-3)


def test_a_sample_of_everything_leaves_no_doubt_but_about_time() -> None:
    whole = replace(
        MEASUREMENT,
        batch_seconds=(2.0, 3.0, 5.0, 6.0),
        row_bytes=tuple(range(1, 33)),
        image_bytes=tuple(range(1, 33)),
        failures=(Failure(code="empty", uri="a"),),
    )
    expected = forecast(replace(SCOPE, num_images=32, num_shards=1), whole, NO_PRICES)
    assert expected.failed_images == Estimate.exact(1)
    assert expected.fetched_bytes == Estimate.exact(16.5 * 32)
    assert expected.output_bytes == Estimate.exact(16.5 * 32 + 5000)
    assert expected.hours.low < expected.hours.value < expected.hours.high
