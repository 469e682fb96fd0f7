from dataclasses import asdict

import pytest

from pipelines.settings.prices import PriceConfig, Quantities, price
from possam_core.errors import ConfigError

QUANTITIES = Quantities(
    worker_hours=10, num_gets=4000, num_puts=500, fetched_bytes=3e9, output_bytes=2e8
)


def test_each_quantity_is_multiplied_by_its_own_price() -> None:
    prices = PriceConfig(
        worker_hour=2.5,
        get_per_1000=0.4,
        put_per_1000=5.0,
        egress_per_gb=0.1,
        storage_gb_month=0.02,
    )
    cost = price(QUANTITIES, prices)
    assert asdict(cost) == pytest.approx(
        {"compute": 25.0, "requests": 1.6 + 2.5, "egress": 0.3, "storage_month": 0.004}
    )
    assert cost.run == pytest.approx(29.4)  # storage is paid by the month, not once


def test_without_prices_nothing_is_given_and_nothing_costs() -> None:
    assert not PriceConfig(currency="EUR").is_given
    assert PriceConfig(storage_gb_month=0.02).is_given
    assert price(QUANTITIES, PriceConfig()).run == 0


@pytest.mark.parametrize("wrong", [-0.01, float("nan"), float("inf")])
def test_a_price_below_zero_or_without_end_is_refused_by_name(wrong: float) -> None:
    with pytest.raises(
        ConfigError, match=r"prices\.put_per_1000 must be (a finite number, )?0 or more, got"
    ):
        PriceConfig(put_per_1000=wrong)
