"""Options that name labelled images, for the commands that measure checkpoints."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from pipelines.cli.settings_flags import setting_flag
from pipelines.train.config import DataConfig
from possam_core.errors import ConfigError, nearest

WORLDS = ("playground", "workshop")
DEFAULT_SCENES, DEFAULT_SEED = 300, 301  # what docs/results.md reports of possam-tiny

DataOption = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="for a checkpoint: playground, workshop, or a JSON in COCO panoptic format",
    ),
]
DataImagesOption = Annotated[str | None, setting_flag(DataConfig, "images")]
MasksOption = Annotated[str | None, setting_flag(DataConfig, "masks")]
DataVocabularyOption = Annotated[str | None, setting_flag(DataConfig, "vocabulary")]
ScenesOption = Annotated[int | None, setting_flag(DataConfig, "num_scenes", default=DEFAULT_SCENES)]
SceneSeedOption = Annotated[
    int | None, setting_flag(DataConfig, "scene_seed", default=DEFAULT_SEED)
]
DataLimitOption = Annotated[int | None, setting_flag(DataConfig, "limit")]


def data_settings(model: str, data: str | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `DataConfig`.

    Args:
        model: named in messages.
        data: the value of `--data`.
        flags: further settings; None: not given.

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
        scenes = {"num_scenes": DEFAULT_SCENES, "scene_seed": DEFAULT_SEED}
        return {"source": "playground", "world": data, **scenes, **given}
    if not data.endswith(".json"):
        hint = nearest(data, WORLDS, otherwise="name one of them")
        raise ConfigError(
            f"expected --data playground, workshop or a .json in COCO panoptic format, got {data};"
            f" {hint}"
        )
    return {"source": "coco-panoptic", "annotations": data, **given}
