"""calibrate: what makes a checkpoint's scores and grades honest."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.labelled_data import (
    DataImagesOption,
    DataLimitOption,
    DataOption,
    DataVocabularyOption,
    GpuOption,
    MasksOption,
    SceneSeedOption,
    ScenesOption,
    data_settings,
)

calibration_app = typer.Typer()


@calibration_app.command()
def calibrate(
    model: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="bundled model, checkpoint or model file")
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", help="checkpoint to write")],
    data: DataOption = None,
    images: DataImagesOption = None,
    masks: MasksOption = None,
    vocabulary: DataVocabularyOption = None,
    num_scenes: ScenesOption = None,
    scene_seed: SceneSeedOption = None,
    limit: DataLimitOption = None,
    use_gpu: GpuOption = None,
) -> None:
    """Fit scores and grades to labelled images that the model has not learned from."""
    from rich.console import Console

    from pipelines.bars import bars
    from pipelines.evaluate.calibrate import (
        CalibrateConfig,
        calibrate_checkpoint,
        calibration_tables,
    )
    from pipelines.settings.load import load_config

    of_data = {"images": images, "masks": masks, "vocabulary": vocabulary, "limit": limit}
    of_data |= {"num_scenes": num_scenes, "scene_seed": scene_seed}
    flags = {"model": model, "data": data_settings(model, data, of_data), "output": str(output)}
    config = load_config(CalibrateConfig, None, {**flags, "use_gpu": use_gpu})
    with bars() as progress:
        task = progress.add_task("labelling", total=None)
        calibrated = calibrate_checkpoint(
            config,
            on_images=lambda done, total: progress.update(task, completed=done, total=total),
        )
    Console().print(calibration_tables(calibrated))
    metrics = calibrated.metrics
    typer.echo(
        f"fitted on {metrics['fit_images']:,} images, measured on {metrics['measured_images']:,}"
        f" others; wrote {output}"
    )
