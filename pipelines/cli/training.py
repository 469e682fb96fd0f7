"""The command train, which makes a checkpoint."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import JsonOption, interruptible, print_json
from pipelines.cli.settings_flags import takes_settings
from possam_core.errors import counted
from possam_core.extras import require

require("tensorboard", "possam train")  # checked first: the settings already need torch
from pipelines.train.config import TrainConfig  # noqa: E402

if TYPE_CHECKING:
    from pipelines.train.job import TrainReport

ConfigArgument = Annotated[
    Path,
    typer.Argument(metavar="CONFIG.yaml", show_default=False, help="settings; flags win over it"),
]

training_app = typer.Typer()


@training_app.command()
@takes_settings(TrainConfig, config=ConfigArgument)
def train(settings: TrainConfig, as_json: JsonOption = False) -> None:
    """Train a model; the same command again resumes an interrupted training."""
    from pipelines.train.job import run_train

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name in ("possam_core.training", "pipelines"):
        logging.getLogger(name).setLevel(logging.INFO)
    with interruptible("go on"):
        report = run_train(settings)
    if as_json:
        print_json(report)
    else:
        typer.echo(_summary(report))


def _summary(report: "TrainReport") -> str:
    from pipelines.train.job import BEST, LAST

    last, best = f"{report.location}/{LAST}", f"{report.location}/{BEST}"
    if not report.num_new:
        return f"nothing to do: all {report.num_steps:,} steps are done; see {last}"
    figures = ", ".join(f"{name} {value:.1f}" for name, value in report.best.items())
    lines = [
        f"trained {counted(report.num_new, 'step')} of {report.num_steps:,};"
        f" the last weights: {last}",
        f"the best on held-out images: {best}; PQ {figures}",
    ]
    if report.num_skipped:
        lines.append(f"{counted(report.num_skipped, 'step')} skipped: gradients were not finite")
    return "\n".join(lines)
