"""Arguments and options that several commands share."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

BAD_INPUT = 2  # exit code of a mistake of the caller's

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="run folder, local or s3://")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]

# None stands for "not given": the configuration file's value, or else the default, holds.
ImagesArgument = Annotated[
    str | None,
    typer.Argument(help="folder, glob, manifest, tar or Parquet files; local or s3://"),
]
ConfigOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML of settings; flags win over it")
]
OutputOption = Annotated[str | None, typer.Option(metavar="RUN", help="run folder, local or s3://")]
ModelOption = Annotated[
    str | None,
    typer.Option(help="bundled name or path of a checkpoint", show_default="possam-tiny"),
]
VocabularyOption = Annotated[
    str | None, typer.Option(help="built-in name or YAML file", show_default="the model's own")
]
PrecisionOption = Annotated[
    str | None, typer.Option(help="float32 or bfloat16", show_default="float32")
]
ShardSizeOption = Annotated[
    int | None, typer.Option(help="images in one file", show_default="1024")
]
LimitOption = Annotated[int | None, typer.Option(help="plan at most so many images")]
SampleOption = Annotated[
    float | None, typer.Option(help="plan this share of the images, such as 0.01")
]
SinceOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="plan only what was modified from then on")
]
ConsistencyOption = Annotated[
    float | None,
    typer.Option(help="label this share of the images again, flipped and shrunk, and compare"),
]
HostsOption = Annotated[
    list[str] | None,
    typer.Option("--allowed-host", help="host whose web addresses a manifest may name"),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(help="models at work at once", show_default="CPUs - 1, or one for each GPU"),
]
GpusOption = Annotated[
    float | None, typer.Option(help="GPUs of each worker", show_default="0, label on the CPU")
]
BudgetOption = Annotated[
    float | None,
    typer.Option(help="stop when a larger share of the images fails", show_default="0.5"),
]
SingleWriterOption = Annotated[
    bool | None,
    typer.Option("--single-writer", help="for stores without conditional writes: one run only"),
]


def print_report(content: "RenderableType | dict[str, Any]") -> None:
    """Print a dict as JSON and anything else for people to read."""
    if isinstance(content, dict):
        typer.echo(json.dumps(content, indent=2))
        return
    from rich.console import Console

    Console(soft_wrap=True, highlight=False).print(content)
