"""A canary: a random sample of a planned corpus, labelled first, as a small run of its own."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, replace

import pyarrow as pa

from pipelines.planning.freeze import freeze_plan
from pipelines.planning.prepare import resolve_settings
from pipelines.planning.sample import draw, some_shards
from pipelines.run.folder import RunFolder
from pipelines.run.plan import Plan, load_plan
from pipelines.schema import INPUT_SCHEMA
from pipelines.settings.label import LabelConfig
from pipelines.storage.store import trouble_named

logger = logging.getLogger(__name__)

INFIX = "-canary-"  # between the name of the run and the number of images


def canary_location(output: str, num_images: int) -> str:
    """Where the canary of the run at `output` lies: beside it, so the run itself is unchanged."""
    return f"{output}{INFIX}{num_images}"


def is_canary_of(location: str, output: str) -> bool:
    """Whether `location` is that of a canary of the run at `output`."""
    number = location.removeprefix(f"{output}{INFIX}")
    return number != location and number.isdecimal()


def canary_config(config: LabelConfig, num_images: int) -> LabelConfig:
    """The settings of a canary of the run `config`.

    They include a limit, so that a canary whose plan was lost does not label the whole corpus.
    """
    return replace(
        config,
        output=canary_location(config.output, num_images),
        shard_size=min(config.shard_size, num_images),
        limit=num_images,
        sample=None,
        since=None,
    )


def plan_canary(plan: Plan, location: str, config: LabelConfig) -> None:
    """Plan the canary `config` with images drawn at random from a plan.

    A canary that has been planned is left unchanged, with its labels.

    Args:
        plan: from which the images are drawn.
        location: of the run of `plan`.
        config: returned by `canary_config`.

    Raises:
        ConfigError: the folder cannot be written.
    """
    assert config.limit is not None  # set by `canary_config`
    with trouble_named(config.output):
        canary = RunFolder(config.output, create=True, single_writer=config.single_writer)
        if load_plan(canary) is not None:
            return  # the labelling job compares the settings
        settings, frozen = resolve_settings(config)
        freeze_plan(
            canary,
            settings,
            _draw(RunFolder(location), plan, config.limit),
            vocabulary=frozen,
        )
    logger.info("planned a canary of %d images in %s", config.limit, config.output)


def _draw(run: RunFolder, plan: Plan, num_images: int) -> Iterator[pa.RecordBatch]:
    """Images of the plan as a source would list them."""
    images, _ = draw(some_shards(run, plan, num_images), num_images)
    rows = [asdict(image) | {"relative_uri": image.uri} for image in images]
    yield pa.RecordBatch.from_pylist(rows, schema=INPUT_SCHEMA)
