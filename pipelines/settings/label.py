"""The settings of a labelling job; the YAML file, the flags and the flow's form come from here."""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

from pipelines.corpus.glob_pattern import folder_of
from pipelines.settings.prices import PriceConfig
from pipelines.settings.shared_fields import AllowedHosts, Model, PlannedPrecision
from pipelines.storage.addresses import is_remote, normalise_location
from possam_core.settings import Setting, require_valid


def _unless_a_time(text: str) -> str:
    """Empty if `text` is a time in ISO 8601; else what it should be."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return "a date or time such as 2026-01-31 or 2026-01-31T12:00"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """What to label, with which model, and where to write.

    Example:
        >>> from pipelines import LabelConfig
        >>> LabelConfig(images="s3://street/photos", output="s3://street/labels").shard_size
        1024
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    images: Annotated[
        str,
        Setting(
            help="folder, glob, manifest, tar or Parquet files; local or s3://",
            example="s3://street-corpus/photos",
        ),
    ]
    output: Annotated[
        str,
        Setting(
            help="run folder, local or s3://; the same one again goes on with what is open",
            example="s3://street-labels/photos-2026-11",
        ),
    ]
    model: Model = "possam-tiny"
    vocabulary: Annotated[
        str | None,
        Setting(help="built-in name or YAML file", unset="the model's own", example="street.yaml"),
    ] = None
    precision: PlannedPrecision = None
    shard_size: Annotated[
        int,
        Setting(
            title="Images in a file",
            help="images in one file",
            ge=1,
            le=100_000,
            advice="1024 suits most runs",
            example=1024,
        ),
    ] = 1024
    limit: Annotated[
        int | None,
        Setting(
            help="plan at most so many images, the first of the corpus",
            ge=1,
            unset="all",
            example=100_000,
        ),
    ] = None
    sample: Annotated[
        float | None,
        Setting(
            help="plan this share of the images",
            gt=0,
            le=1,
            advice="0.01 is one image in a hundred",
            example=0.01,
            unset="all",
        ),
    ] = None
    since: Annotated[
        str | None,
        Setting(
            help="plan only what was modified from then on, ISO 8601; UTC unless it says otherwise",
            example="2026-10-01",
            unset="all",
            wanted_of=_unless_a_time,
            pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}",
        ),
    ] = None
    consistency_share: Annotated[
        float,
        Setting(
            help="label this share of the images again, flipped and shrunk, and compare",
            ge=0,
            le=1,
            advice="0.05 is one image in twenty",
            example=0.05,
        ),
    ] = 0.0
    allowed_hosts: AllowedHosts = ()
    num_workers: Annotated[
        int | None,
        Setting(
            title="Workers",
            help="models at work at once",
            ge=1,
            advice="leave it out for the default",
            unset="CPUs - 1, or one for each GPU",
            example=8,
        ),
    ] = None
    gpus_per_worker: Annotated[
        float | None,
        Setting(
            title="GPUs of a worker",
            help="GPUs of each worker, as declared to Ray; 0: work on the CPU",
            ge=0,
            unset="1 where there are GPUs, else 0",
            example=1,
        ),
    ] = None
    compile: Annotated[
        bool | None,
        Setting(
            title="Compile",
            help="compile SAM's encoder, which takes a minute once in each worker",
            unset="on GPUs",
            example=True,
        ),
    ] = None
    channels_last: Annotated[
        bool | None,
        Setting(
            title="Channels last",
            help="hold the weights of convolutions with the channels last",
            unset="on GPUs",
            example=True,
        ),
    ] = None
    error_budget: Annotated[
        float,
        Setting(
            title="Stop at errors",
            help="stop when a larger share of the images fails",
            ge=0,
            le=1,
            advice="1 never stops a run",
            example=0.05,
        ),
    ] = 0.5
    single_writer: Annotated[
        bool, Setting(help="for stores without conditional writes: one run only")
    ] = False
    force: Annotated[
        bool, Setting(help="start a run in a folder that already holds other files")
    ] = False
    prices: Annotated[
        PriceConfig, Setting(help="what things cost, for estimates and the cost so far")
    ] = field(default_factory=PriceConfig)

    def __post_init__(self) -> None:
        for name in ("images", "output"):
            object.__setattr__(self, name, normalise_location(getattr(self, name)))
        require_valid(self, _overlap(self.images, self.output))
        if self.since is not None:
            object.__setattr__(self, "since", _utc(self.since))


def _overlap(images: str, output: str) -> str:
    """The conflict between images and output as a sentence; empty: none."""
    folder = folder_of(images)
    corpus, run = _true_place(folder), _true_place(output)
    if run == corpus:
        return f"output must differ from images, got {output} for both; choose another"
    if run.startswith(f"{corpus}/"):
        return f"output must not lie inside images, but {output} lies in {folder}; choose another"
    return ""


def _true_place(location: str) -> str:
    """A normalised address without `..` and symbolic links, where it is local."""
    return location if is_remote(location) else os.path.realpath(location)


def _utc(time: str) -> str:
    """An ISO 8601 time with its zone, which is UTC if `time` has none."""
    parsed = datetime.fromisoformat(time)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).isoformat()
