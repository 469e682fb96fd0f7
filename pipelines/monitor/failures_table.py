"""The text that `possam errors` prints."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.monitor.failures import FailureReport


def failures_table(report: FailureReport) -> RenderableType:
    """Counts and advice for each code, examples below, and how to try again."""
    counts = f"{report.num_failed:,} of {report.num_rows:,} images failed"
    if report.num_open:
        counts += f"; {report.num_open:,} more of {report.location} are not labelled yet"
    parts: list[RenderableType] = [Text(counts)]
    if report.codes:
        parts += [_table(report), *_samples(report)]
    if report.retry_command and not report.num_open:
        parts.append(Text(f"next      {report.retry_command}"))
    return Group(*parts)


def _table(report: FailureReport) -> Table:
    table = Table("code", "images", "share", "what to do")
    for column in table.columns[1:3]:
        column.justify = "right"
    for code in report.codes:
        advice = Text(code.advice, overflow="fold")
        table.add_row(code.code.value, f"{code.num_images:,}", f"{code.share:.2%}", advice)
    return table


def _samples(report: FailureReport) -> list[Text]:
    return [
        Text(f"{code.code.value}  {sample.uri}  {sample.message}")
        for code in report.codes
        for sample in code.samples
    ]
