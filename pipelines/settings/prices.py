"""The cost of a run: quantities times the user's prices."""

from dataclasses import dataclass
from typing import Annotated

from possam_core.settings import Setting, require_valid

BYTES_PER_GB = 10**9  # as stores bill
THOUSAND = 1000


def _price(help: str, example: float) -> Setting:
    return Setting(help=help, ge=0, advice="leave it out if there is none", example=example)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceConfig:
    """What things cost, in one currency; all zero: no price is given, and money is not reported."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    currency: Annotated[str, Setting(help="its name; nothing is converted", example="EUR")] = "USD"
    worker_hour: Annotated[
        float, _price("price of a worker-hour: its share of a machine, its GPU included", 1.2)
    ] = 0.0
    get_per_1000: Annotated[float, _price("price of 1,000 requests that read", 0.0004)] = 0.0
    put_per_1000: Annotated[
        float, _price("price of 1,000 requests that write, and of listings", 0.005)
    ] = 0.0
    egress_per_gb: Annotated[
        float, _price("price of 10^9 bytes that leave the store; 0 inside most regions", 0.0)
    ] = 0.0
    storage_gb_month: Annotated[
        float, _price("price of keeping 10^9 bytes of labels for a month", 0.023)
    ] = 0.0

    def __post_init__(self) -> None:
        require_valid(self, prefix="prices.")

    @property
    def is_given(self) -> bool:
        """Whether any price is given."""
        return self != PriceConfig(currency=self.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantities:
    """The billed quantities of a run."""

    worker_hours: float
    num_gets: float
    num_puts: float  # and listings, which stores bill at the same price
    fetched_bytes: float
    output_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Money, in the currency of its prices."""

    compute: float
    requests: float
    egress: float
    storage_month: float  # for each month that the labels are kept

    @property
    def run(self) -> float:
        """The total that is spent once."""
        return self.compute + self.requests + self.egress


def price(quantities: Quantities, prices: PriceConfig) -> Cost:
    """The cost of `quantities`."""
    gets, puts = quantities.num_gets / THOUSAND, quantities.num_puts / THOUSAND
    return Cost(
        compute=quantities.worker_hours * prices.worker_hour,
        requests=gets * prices.get_per_1000 + puts * prices.put_per_1000,
        egress=quantities.fetched_bytes / BYTES_PER_GB * prices.egress_per_gb,
        storage_month=quantities.output_bytes / BYTES_PER_GB * prices.storage_gb_month,
    )
