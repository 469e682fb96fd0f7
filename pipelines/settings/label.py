"""The settings of a labelling job: the form of the flow, the YAML file, the command's flags."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from pipelines.settings.prices import PriceConfig
from pipelines.storage.addresses import normalise_location
from possam_core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """What to label, with what, and where to."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    images: str  # folder, glob, manifest, tar or Parquet files; local or s3://
    output: str  # run folder: local, or an s3:// prefix
    model: str = "possam-tiny"  # bundled name or path of a checkpoint
    vocabulary: str | None = None  # YAML file or built-in name; None: the checkpoint's own
    precision: Literal["float32", "bfloat16"] = "float32"
    shard_size: int = 1024  # images in one file
    limit: int | None = None  # plan at most so many images, the first of the corpus
    sample: float | None = None  # plan this share of the images, in (0, 1]
    since: str | None = None  # plan only what was modified from this time on, ISO 8601
    consistency_share: float = 0.0  # of the images, labelled again as changed copies; in [0, 1]
    allowed_hosts: tuple[str, ...] = ()  # whose web addresses a manifest may name
    num_workers: int | None = None  # None: one less than there are CPUs, or one for each GPU
    gpus_per_worker: float = 0.0  # declared to Ray; 0: label on the CPU
    error_budget: float = 0.5  # stop when more than this share of the images fails
    single_writer: bool = False  # for stores that do not honour conditional writes
    prices: PriceConfig = field(default_factory=PriceConfig)

    def __post_init__(self) -> None:
        for name in ("images", "output"):
            object.__setattr__(self, name, normalise_location(getattr(self, name)))
        if self.since is not None:
            object.__setattr__(self, "since", _utc(self.since))
        wrong = [
            f"{name} must be {wanted}, got {getattr(self, name)}{remedy}"
            for name, is_fine, wanted, remedy in (
                ("num_workers", self.num_workers is None or self.num_workers >= 1, "at least 1",
                 "; leave it out for the default"),
                ("gpus_per_worker", self.gpus_per_worker >= 0, "0 or more", ""),
                ("shard_size", 1 <= self.shard_size <= 100_000, "1 to 100000",
                 "; 1024 suits most runs"),
                ("limit", self.limit is None or self.limit >= 1, "at least 1", ""),
                ("sample", self.sample is None or 0 < self.sample <= 1, "in (0, 1]",
                 "; 0.01 is one image in a hundred"),
                ("consistency_share", 0 <= self.consistency_share <= 1, "in [0, 1]",
                 "; 0.05 is one image in twenty"),
                ("error_budget", 0 <= self.error_budget <= 1, "in [0, 1]",
                 "; 1 never stops a run"),
            )
            if not is_fine
        ]  # fmt: skip
        if self.output == self.images:
            wrong.append(f"output must differ from images, got {self.output} for both")
        if wrong:
            raise ConfigError("; ".join(wrong))


def _utc(time: str) -> str:
    """An ISO 8601 time with its zone; one without is taken as UTC."""
    try:
        parsed = datetime.fromisoformat(time)
    except ValueError as error:
        raise ConfigError(
            f"since must be a date or time such as 2026-01-31 or 2026-01-31T12:00, got {time!r}"
        ) from error
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).isoformat()
