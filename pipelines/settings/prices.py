"""What a run costs: quantities times the prices that the user gives."""

import math
from dataclasses import dataclass, fields

from possam_core.errors import ConfigError

BYTES_PER_GB = 10**9  # as stores bill
THOUSAND = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceConfig:
    """What things cost, in one currency; all zero: no price is given, and money is not reported."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    currency: str = "USD"  # a name to print; nothing is converted
    worker_hour: float = 0.0  # one worker's share of a machine, its GPU included
    get_per_1000: float = 0.0  # requests that read
    put_per_1000: float = 0.0  # requests that write, and listings
    egress_per_gb: float = 0.0  # bytes that leave the store; 0 inside most regions
    storage_gb_month: float = 0.0  # of the labels

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.name != "currency"):
            if not 0 <= (price := getattr(self, name)) < math.inf:
                raise ConfigError(
                    f"expected prices.{name} to be 0 or more, got {price}; leave it out if there"
                    " is none"
                )

    @property
    def is_given(self) -> bool:
        """Whether there is any price to count with."""
        return self != PriceConfig(currency=self.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantities:
    """What a run uses up."""

    worker_hours: float
    num_gets: float
    num_puts: float  # and listings, which stores bill alike
    fetched_bytes: float
    output_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Money, in the currency of its prices."""

    compute: float
    requests: float
    egress: float
    storage_month: float  # for every month that the labels are kept

    @property
    def run(self) -> float:
        """What is spent once."""
        return self.compute + self.requests + self.egress


def price(quantities: Quantities, prices: PriceConfig) -> Cost:
    """What `quantities` cost."""
    gets, puts = quantities.num_gets / THOUSAND, quantities.num_puts / THOUSAND
    return Cost(
        compute=quantities.worker_hours * prices.worker_hour,
        requests=gets * prices.get_per_1000 + puts * prices.put_per_1000,
        egress=quantities.fetched_bytes / BYTES_PER_GB * prices.egress_per_gb,
        storage_month=quantities.output_bytes / BYTES_PER_GB * prices.storage_gb_month,
    )
