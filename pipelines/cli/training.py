"""train: what makes a checkpoint."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from possam_core.extras import require

if TYPE_CHECKING:
    from pipelines.train.job import TrainReport

INTERRUPTED = 130

training_app = typer.Typer()


@training_app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="settings")],
    output: Annotated[
        str | None, typer.Option(metavar="DIR", help="folder to write to, local or s3://")
    ] = None,
    num_workers: Annotated[
        int | None,
        typer.Option(help="processes on a Ray cluster", show_default="this one, without Ray"),
    ] = None,
    use_gpu: Annotated[bool | None, typer.Option("--gpu/--cpu", help="one GPU a worker")] = None,
    feature_cache: Annotated[
        str | None, typer.Option(metavar="DIR", help="keep the frozen encoders' features there")
    ] = None,
) -> None:
    """Train a model; the same command again goes on where it was interrupted."""
    require("tensorboard", "possam train")
    from pipelines.settings.load import load_config
    from pipelines.train.config import TrainConfig

    flags = {
        "output": output,
        "num_workers": num_workers,
        "use_gpu": use_gpu,
        "feature_cache": feature_cache,
    }
    settings = load_config(TrainConfig, config, flags)
    from pipelines.train.job import run_train

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name in ("possam_core.training", "pipelines"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        typer.echo(_summary(run_train(settings)))
    except KeyboardInterrupt:
        typer.echo("possam: stopped; run the same command again to go on", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _summary(report: "TrainReport") -> str:
    from pipelines.train.job import BEST, LAST

    last, best = f"{report.location}/{LAST}", f"{report.location}/{BEST}"
    if not report.num_new:
        return f"nothing to do: all {report.num_steps:,} steps are done; see {last}"
    figures = ", ".join(f"{name} {value:.1f}" for name, value in report.best.items())
    lines = [
        f"trained {report.num_new:,} steps of {report.num_steps:,}; the last weights: {last}",
        f"the best on held-out images: {best}; PQ {figures}",
    ]
    if report.num_skipped:
        lines.append(f"{report.num_skipped:,} steps were skipped: their gradients were not finite")
    return "\n".join(lines)
