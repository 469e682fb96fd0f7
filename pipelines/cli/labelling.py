"""The commands plan, probe, label and retry, which make a run."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import (
    MOST,
    JsonOption,
    RunArgument,
    interruptible,
    print_json,
    print_report,
)
from pipelines.cli.settings_flags import setting_flag, takes_settings
from pipelines.label.exit_codes import ExitCode, exit_code
from pipelines.settings.label import LabelConfig
from possam_core.errors import counted

if TYPE_CHECKING:
    from pipelines.label.session import LabelReport

IMAGES = ("images",)
WHAT_IS_LEFT = "label what is left"
WHILE_LABELLING = ("error_budget", "compile", "channels_last")  # not used by a plan

WorkersOption = Annotated[int | None, setting_flag(LabelConfig, "num_workers")]
GpusOption = Annotated[float | None, setting_flag(LabelConfig, "gpus_per_worker")]
CompileOption = Annotated[bool | None, setting_flag(LabelConfig, "compile")]
ChannelsOption = Annotated[bool | None, setting_flag(LabelConfig, "channels_last")]
HostsOption = Annotated[list[str] | None, setting_flag(LabelConfig, "allowed_hosts")]
BudgetOption = Annotated[float | None, setting_flag(LabelConfig, "error_budget")]
SingleWriterOption = Annotated[bool | None, setting_flag(LabelConfig, "single_writer")]

labelling_app = typer.Typer()


@labelling_app.command()
@takes_settings(LabelConfig, arguments=IMAGES, without=("num_workers", *WHILE_LABELLING))
def plan(settings: LabelConfig, as_json: JsonOption = False) -> None:
    """Freeze the list of images without labelling any."""
    from rich.console import Console

    from pipelines.label.progress import planning_note
    from pipelines.planning.prepare import prepare

    with planning_note(Console(stderr=True)) as on_listed:
        prepared = prepare(settings, on_listed=on_listed)
    plan = prepared.plan
    if as_json:
        print_json({"location": settings.output, **asdict(plan)})
        return
    typer.echo(
        f"planned {counted(plan.num_images, 'image')} in {counted(plan.num_shards, 'shard')} of"
        f" {plan.settings.shard_size:,}; plan {plan.plan_id} in {settings.output}"
    )
    if plan.num_dropped:
        typer.echo(
            f"dropped {counted(plan.num_dropped, 'image')} as repeating another by address or"
            " content, listed in _plan/duplicates-*.parquet"
        )


@labelling_app.command()
@takes_settings(LabelConfig, arguments=IMAGES, without=("error_budget", "single_writer", "force"))
def probe(
    settings: LabelConfig,
    num_images: Annotated[
        int, typer.Option(min=1, max=MOST, help="images to label for the estimate")
    ] = 64,
    as_json: JsonOption = False,
) -> None:
    """Label a few images, keep nothing, and estimate the time and cost of the whole."""
    from pipelines.probe.probe import run_probe

    report = run_probe(settings, num_images=num_images)
    if as_json:
        print_json(report.to_json())
    else:
        print_report(report.to_text())


@labelling_app.command()
@takes_settings(LabelConfig, arguments=IMAGES)
def label(settings: LabelConfig, as_json: JsonOption = False) -> None:
    """Label images; the same command again labels only what is left."""
    from pipelines.label.session import run_label

    _warn_of_single_writer(settings)
    with interruptible(WHAT_IS_LEFT):
        _finish(run_label(settings), as_json=as_json)


@labelling_app.command()
def retry(
    run: RunArgument,
    codes: Annotated[
        str | None,
        typer.Option(
            help="error codes to retry, separated by commas",
            show_default="those of the open retry",
        ),
    ] = None,
    num_workers: WorkersOption = None,
    gpus_per_worker: GpusOption = None,
    compile: CompileOption = None,
    channels_last: ChannelsOption = None,
    allowed_hosts: HostsOption = None,
    error_budget: BudgetOption = None,
    single_writer: SingleWriterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Label the failed images again; the newest row of an image counts."""
    from pipelines.label.session import run_retry
    from pipelines.planning.retry import retry_config

    settings = retry_config(run)
    settings = replace(
        settings,
        num_workers=num_workers,
        gpus_per_worker=gpus_per_worker,
        compile=compile,
        channels_last=channels_last,
        allowed_hosts=tuple(allowed_hosts or ()),
        error_budget=settings.error_budget if error_budget is None else error_budget,
        single_writer=bool(single_writer),
    )
    _warn_of_single_writer(settings)
    asked = tuple(code.strip() for code in (codes or "").split(",") if code.strip())
    with interruptible(WHAT_IS_LEFT):
        _finish(run_retry(settings, asked), as_json=as_json)


def _warn_of_single_writer(settings: LabelConfig) -> None:
    if settings.single_writer:
        typer.echo(
            "possam: --single-writer: two runs on this folder at once may overwrite each other",
            err=True,
        )


def _finish(report: "LabelReport", *, as_json: bool) -> None:
    """Print the result of the run; the exit code says whether it is complete."""
    from rich.console import Console

    from pipelines.label.summary import summarise, to_record

    code = exit_code(report)
    if as_json:
        print_json(to_record(report))
    else:
        console = Console(stderr=code is not ExitCode.DONE, soft_wrap=True, highlight=False)
        console.print(summarise(report))
    if code is not ExitCode.DONE:
        raise typer.Exit(code)
