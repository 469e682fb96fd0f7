"""Options that name labelled images, for the commands that measure checkpoints."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from pipelines.cli.settings_flags import setting_flag
from pipelines.train.config import DataConfig
from possam_core.errors import ConfigError, nearest

WORLDS = ("playground", "workshop")
REPORT_SCENES, REPORT_SEED = 300, 301  # what docs/results.md reports of possam-tiny
FIT_SCENES, FIT_SEED = 400, 202  # what possam-tiny was calibrated on; never what is reported

DataSource = typer.Option(
    metavar="DATA", help="for a checkpoint: playground, workshop, or a JSON in COCO panoptic format"
)
DataOption = Annotated[str | None, DataSource]
DataImagesOption = Annotated[str | None, setting_flag(DataConfig, "images")]
MasksOption = Annotated[str | None, setting_flag(DataConfig, "masks")]
DataVocabularyOption = Annotated[str | None, setting_flag(DataConfig, "vocabulary")]
ScenesOption = Annotated[int | None, setting_flag(DataConfig, "num_scenes", default=REPORT_SCENES)]
SceneSeedOption = Annotated[int | None, setting_flag(DataConfig, "scene_seed", default=REPORT_SEED)]
FitScenesOption = Annotated[int | None, setting_flag(DataConfig, "num_scenes", default=FIT_SCENES)]
FitSeedOption = Annotated[int | None, setting_flag(DataConfig, "scene_seed", default=FIT_SEED)]
DataLimitOption = Annotated[int | None, setting_flag(DataConfig, "limit")]


def data_settings(
    model: str,
    data: str | None,
    flags: Mapping[str, Any],
    *,
    scenes: tuple[int, int] = (REPORT_SCENES, REPORT_SEED),
) -> dict[str, Any]:
    """The settings of `DataConfig`.

    Args:
        model: named in messages.
        data: the value of `--data`.
        flags: further settings; None: not given.
        scenes: of a world, how many and of which seed, unless `flags` say otherwise.

    Raises:
        ConfigError: `data` is missing, or names neither a world nor a JSON file.
    """
    if data is None:
        raise ConfigError(
            f"expected --data with the checkpoint {model}, got none; use --data playground,"
            " --data workshop, or --data panoptic.json --images DIR --vocabulary NAME"
        )
    given = {name: value for name, value in flags.items() if value is not None}
    if data in WORLDS:
        drawn = dict(zip(("num_scenes", "scene_seed"), scenes, strict=True))
        return {"source": "playground", "world": data, **drawn, **given}
    if not data.endswith(".json"):
        hint = nearest(data, WORLDS, otherwise="name one of them")
        raise ConfigError(
            f"expected --data playground, workshop or a .json in COCO panoptic format, got {data};"
            f" {hint}"
        )
    return {"source": "coco-panoptic", "annotations": data, **given}
