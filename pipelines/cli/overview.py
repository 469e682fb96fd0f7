"""The commands by name, and the page that `possam --help` prints.

The page looks as typer would draw it, but imports neither typer nor any command's module, which
halves its time. Tests check that the table equals the docstrings, and that the page equals typer's.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.panel import Panel
    from rich.table import Table

ABOUT = "Open-vocabulary panoptic labels for images by the million."
OPTIONS = {"--version": "Print it.", "--help": "Show this message and exit."}


GROUPS = ("vocabulary", "weights", "config")  # the commands that have subcommands


class Entry(NamedTuple):
    """Where a command lives, and the first sentence of its help."""

    app: str  # `MODULE:NAME` of the typer app, below pipelines.cli
    summary: str


COMMANDS = {  # in the order of the page
    "plan": Entry("labelling:labelling_app", "Freeze the list of images without labelling any."),
    "probe": Entry(
        "labelling:labelling_app",
        "Label a few images, keep nothing, and estimate the time and cost of the whole.",
    ),
    "label": Entry(
        "labelling:labelling_app",
        "Label images; the same command again labels only what is left.",
    ),
    "retry": Entry(
        "labelling:labelling_app",
        "Label the failed images again; the newest row of an image counts.",
    ),
    "status": Entry(
        "care:care_app", "Print the progress of a run, its workers, and when it will be done."
    ),
    "errors": Entry("care:care_app", "Print what failed, by error code, and what to do about it."),
    "verify": Entry(
        "care:care_app",
        "Check a run with independent code; exit with 1 if it finds a problem.",
    ),
    "compact": Entry(
        "care:care_app",
        "Write the labels of a finished run as a few large files; the run itself stays.",
    ),
    "doctor": Entry(
        "care:care_app", "Check everything that a run needs, and say how to fix what fails."
    ),
    "report": Entry(
        "pictures:pictures_app",
        "Write a folder that shows a run in a browser: filters, histograms, overlays, worst first.",
    ),
    "compare": Entry(
        "pictures:pictures_app",
        "Print how the labels of two runs differ, and write a page of both side by side.",
    ),
    "playground": Entry(
        "pictures:pictures_app",
        "Generate images of toy scenes with COCO panoptic ground truth.",
    ),
    "demo": Entry(
        "pictures:pictures_app",
        "Label a small playground corpus end to end and write a report of it.",
    ),
    "evaluate": Entry(
        "evaluation:evaluation_app",
        "Print PQ, SQ and RQ of a run; for a checkpoint also AP, mIoU and reliability.",
    ),
    "calibrate": Entry(
        "calibration:calibration_app",
        "Fit scores and grades on labelled images that the model was not trained on.",
    ),
    "stats": Entry(
        "stats:stats_app",
        "Print grades, classes, sizes, scores and errors of a run, and its drift from another.",
    ),
    "export": Entry(
        "export:export_app",
        "Write labels in another format; the same command again exports only what is left.",
    ),
    "correct": Entry(
        "corrections:corrections_app",
        "Add annotators' labels to a run, where they replace the model's.",
    ),
    "train": Entry(
        "training:training_app",
        "Train a model; the same command again resumes an interrupted training.",
    ),
    "weights": Entry("assets:weights_app", "Published weights: encoders, and FC-CLIP."),
    "vocabulary": Entry("assets:vocabulary_app", "Vocabularies: built in, and your own."),
    "config": Entry("assets:config_app", "The configuration file."),
}


def print_overview() -> None:
    """Print the page of `possam --help`, in the width and colours of the terminal."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    usage = Text.assemble(("Usage: ", "yellow"), "possam [OPTIONS] COMMAND [ARGS]...")
    console.print(Padding(usage, 1), style="bold")
    console.print(Padding(ABOUT, (0, 1, 1, 1)))
    options = _table(num_columns=6)  # typer has columns for short and negative forms, too
    for option, effect in OPTIONS.items():
        kind = Text.assemble(("<", "dim"), "bool", (">", "dim"), style="bold yellow")
        options.add_row(Text(option, "bold cyan"), "", "", "", kind, effect)
    console.print(_panel("Options", options))
    commands = _table(num_columns=2)
    commands.columns[0].width = max(map(len, COMMANDS))
    for name, entry in COMMANDS.items():
        commands.add_row(Text(name, "bold cyan"), entry.summary)
    console.print(_panel("Commands", commands))


def _table(*, num_columns: int) -> "Table":
    from rich.table import Column, Table

    columns = [Column() for _ in range(num_columns - 1)]
    return Table(
        *columns, Column(ratio=1), show_header=False, expand=True, box=None, pad_edge=False
    )


def _panel(title: str, table: "Table") -> "Panel":
    from rich.panel import Panel

    return Panel(table, border_style="dim", title=title, title_align="left")
