"""The command calibrate, which makes a checkpoint's scores and grades reliable."""

from typing import Annotated

import typer

from pipelines.cli.labelled_data import (
    FIT_SCENES,
    FIT_SEED,
    DataImagesOption,
    DataLimitOption,
    DataSource,
    DataVocabularyOption,
    FitScenesOption,
    FitSeedOption,
    MasksOption,
    data_settings,
)
from pipelines.cli.options import JsonOption, print_json
from pipelines.cli.settings_flags import setting_flag
from pipelines.evaluate.calibrate import CalibrateConfig, calibrate_checkpoint, calibration_tables
from possam_core.errors import counted

calibration_app = typer.Typer()


@calibration_app.command()
def calibrate(
    model: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="bundled model, checkpoint or model file")
    ],
    output: Annotated[str, setting_flag(CalibrateConfig, "output")],
    data: Annotated[str, DataSource],
    images: DataImagesOption = None,
    masks: MasksOption = None,
    vocabulary: DataVocabularyOption = None,
    num_scenes: FitScenesOption = None,
    scene_seed: FitSeedOption = None,
    limit: DataLimitOption = None,
    gpus_per_worker: Annotated[int | None, setting_flag(CalibrateConfig, "gpus_per_worker")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit scores and grades on labelled images that the model was not trained on."""
    from rich.console import Console

    from pipelines.bars import counting
    from pipelines.settings.load import load_config

    of_data = {"images": images, "masks": masks, "vocabulary": vocabulary, "limit": limit}
    of_data |= {"num_scenes": num_scenes, "scene_seed": scene_seed}
    labelled = data_settings(model, data, of_data, scenes=(FIT_SCENES, FIT_SEED))
    flags = {"model": model, "data": labelled, "output": output}
    config = load_config(CalibrateConfig, None, {**flags, "gpus_per_worker": gpus_per_worker})
    with counting("labelling") as on_progress:
        calibrated = calibrate_checkpoint(config, on_images=on_progress)
    metrics = calibrated.metrics
    if as_json:
        print_json({"output": config.output, **metrics})
        return
    Console().print(calibration_tables(calibrated))
    typer.echo(
        f"fitted on {counted(metrics['fit_images'], 'image')}, measured on"
        f" {counted(metrics['measured_images'], 'other')}; wrote {output}"
    )
