"""The commands by name, and the page of `possam --help`.

The page looks as typer would draw it, but imports neither typer nor any command's module, which
halves its time. Tests hold the table equal to the docstrings, and the page to typer's.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.panel import Panel
    from rich.table import Table

ABOUT = "Open-vocabulary panoptic labels for images by the million."
OPTIONS = {"--version": "Print it.", "--help": "Show this message and exit."}


class Entry(NamedTuple):
    """Where a command lives, and the first sentence of its help."""

    app: str  # `MODULE:NAME` of the typer app, below pipelines.cli
    summary: str


COMMANDS = {  # in the order of the page
    "plan": Entry("labelling:labelling_app", "Freeze the list of images, and label none yet."),
    "probe": Entry(
        "labelling:labelling_app",
        "Label a few images, keep nothing, and say what the whole would take and cost.",
    ),
    "label": Entry(
        "labelling:labelling_app",
        "Label images; the same command again does only what is left.",
    ),
    "retry": Entry(
        "labelling:labelling_app",
        "Label again the images that failed; their newest row counts.",
    ),
    "status": Entry(
        "care:care_app", "Print how far a run is, who works on it, and when it will be done."
    ),
    "errors": Entry("care:care_app", "Print what failed, by its code, and what to do about it."),
    "verify": Entry(
        "care:care_app",
        "Recount a run with code of its own; exit with 1 if anything is not as promised.",
    ),
    "compact": Entry(
        "care:care_app",
        "Write the labels of a finished run as a few large files; the run stays the truth.",
    ),
    "doctor": Entry(
        "care:care_app", "Try everything that a run needs, and say how to mend what fails."
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
        "Print PQ, SQ and RQ of a run; of a checkpoint AP, mIoU and reliability as well.",
    ),
    "calibrate": Entry(
        "calibration:calibration_app",
        "Fit scores and grades to labelled images that the model has not learned from.",
    ),
    "stats": Entry(
        "stats:stats_app",
        "Print grades, classes, sizes, scores and errors of a run, and its drift from another.",
    ),
    "export": Entry(
        "export:export_app",
        "Write labels in another format; the same command again does only what is left.",
    ),
    "correct": Entry(
        "corrections:corrections_app",
        "Put the labels of annotators into a run, where they win over the machine's.",
    ),
    "train": Entry(
        "training:training_app",
        "Train a model; the same command again goes on where it was interrupted.",
    ),
    "weights": Entry("assets:weights_app", "Published weights of the frozen encoders."),
    "vocabulary": Entry("assets:vocabulary_app", "Vocabularies: built in, and your own."),
    "config": Entry("assets:config_app", "The configuration file."),
}


def print_overview() -> None:
    """Print what `possam --help` shows, as wide and as colourful as the terminal is."""
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
