"""The command stats, which prints the statistics of a run."""

from typing import Annotated

import typer

from pipelines.cli.options import JsonOption, RunArgument, print_json, print_report

stats_app = typer.Typer()


@stats_app.command()
def stats(
    run: RunArgument,
    against: Annotated[
        str | None,
        typer.Option(metavar="REFERENCE", help="reference run to measure drift against"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print grades, classes, sizes, scores and errors of a run, and its drift from another."""

    from pipelines.bars import counting
    from pipelines.stats.report import report_statistics
    from pipelines.stats.view import statistics_view

    with counting("counting") as on_progress:
        report = report_statistics(run, reference=against, on_shard=on_progress)
    if as_json:
        print_json(report.to_json())
    else:
        print_report(statistics_view(report))
