"""The commands status, errors, verify, compact and doctor, which inspect a run."""

from dataclasses import asdict
from typing import Annotated

import typer

from pipelines.cli.options import MOST, JsonOption, RunArgument, print_json, print_report
from pipelines.cli.settings_flags import setting_flag
from pipelines.label.exit_codes import ExitCode
from pipelines.settings.label import LabelConfig
from possam_core.errors import counted

care_app = typer.Typer()


@care_app.command()
def status(run: RunArgument, as_json: JsonOption = False) -> None:
    """Print the progress of a run, its workers, and when it will be done."""
    from pipelines.monitor.status import read_status
    from pipelines.monitor.status_table import status_table

    report = read_status(run)
    if as_json:
        print_json(report.to_json())
    else:
        print_report(status_table(report))


@care_app.command()
def errors(
    run: RunArgument,
    samples: Annotated[
        int, typer.Option(min=0, max=MOST, help="images to name for each error code")
    ] = 3,
    as_json: JsonOption = False,
) -> None:
    """Print what failed, by error code, and what to do about it."""
    from pipelines.monitor.failures import read_failures
    from pipelines.monitor.failures_table import failures_table

    report = read_failures(run, samples=samples)
    if as_json:
        print_json(report.to_json())
    else:
        print_report(failures_table(report))


@care_app.command()
def verify(run: RunArgument, as_json: JsonOption = False) -> None:
    """Check a run with independent code; exit with 1 if it finds a problem."""
    from pipelines.bars import counting
    from pipelines.verify import verify_run

    with counting("verifying") as on_progress:
        report = verify_run(run, on_file=on_progress)
    if as_json:
        print_json(report)
    else:
        for problem in report.problems:
            typer.echo(problem)
        typer.echo(
            f"{counted(report.num_images, 'image')}, {counted(report.num_files, 'file')},"
            f" {counted(report.num_segments, 'segment')} checked:"
            f" {counted(len(report.problems), 'problem')}"
        )
    if report.problems:
        raise typer.Exit(ExitCode.INCOMPLETE)


@care_app.command()
def compact(run: RunArgument, as_json: JsonOption = False) -> None:
    """Write the labels of a finished run as a few large files; the run itself stays."""
    from pipelines.bars import counting
    from pipelines.run.compact import compact_run

    with counting("compacting") as on_progress:
        report = compact_run(run, on_shard=on_progress)
    if as_json:
        print_json(report)
        return
    verb = "wrote" if report.is_new else "found"
    rows, num_bytes = sum(f.rows for f in report.files), sum(f.bytes for f in report.files)
    typer.echo(
        f"{verb} {counted(rows, 'row')} in {counted(len(report.files), 'file')},"
        f" {num_bytes / 1e6:,.1f} MB, at {report.location}/{report.folder}"
    )
    for folder in report.other_folders:
        typer.echo(
            f"{report.location}/{folder} belongs to an earlier state of the run and can be deleted"
        )


@care_app.command()
def doctor(
    images: Annotated[str | None, setting_flag(LabelConfig, "images")] = None,
    output: Annotated[str | None, setting_flag(LabelConfig, "output")] = None,
    model: Annotated[str, setting_flag(LabelConfig, "model")] = "possam-tiny",
    allowed_hosts: Annotated[list[str] | None, setting_flag(LabelConfig, "allowed_hosts")] = None,
    gpus_per_worker: Annotated[float | None, setting_flag(LabelConfig, "gpus_per_worker")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check everything that a run needs, and say how to fix what fails."""
    from pipelines.doctor import run_doctor

    checks = []
    for check in run_doctor(
        output=output,
        images=images,
        allowed_hosts=tuple(allowed_hosts or ()),
        model=model,
        are_gpus_wanted=bool(gpus_per_worker),
    ):
        checks.append(check)
        if not as_json:
            typer.echo(f"{check.verdict:8} {check.name}: {check.finding}")
            if check.remedy:
                typer.echo(f"{'':8} -> {check.remedy}")
    if as_json:
        print_json({"checks": [asdict(check) for check in checks]})
    if any(check.verdict == "failed" for check in checks):
        raise typer.Exit(ExitCode.INCOMPLETE)
