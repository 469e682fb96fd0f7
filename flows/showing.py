"""Shows a labelled run in the UI: tables of statistics, a page with pictures, the HTML report."""

from collections.abc import Sequence
from pathlib import Path

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from rich.console import Console

from flows.figures import class_table, overview_table, report_text
from pipelines.redaction import without_secrets
from pipelines.report.thumbnails import make_thumbnails
from pipelines.settings.label import LabelConfig
from pipelines.stats import Statistics
from pipelines.storage.addresses import is_s3

NUM_THUMBNAILS = 6  # some 8 KB each in the text


def show_run(
    config: LabelConfig, statistics: Statistics, missed: Sequence[str], *, key: str
) -> None:
    """Write the HTML report of a labelled run, and artifacts whose keys begin with `key`.

    Args:
        config: of the run.
        statistics: of its labels.
        missed: thresholds that they miss.
        key: such as canary.
    """
    from pipelines.report import write_report  # torch: seconds that a wrong form does without

    where = without_secrets(config.output)
    overview = overview_table(statistics)
    create_table_artifact(overview, key=f"{key}-statistics", description=where)
    if statistics.segments:
        create_table_artifact(class_table(statistics), key=f"{key}-classes", description=where)
    page = write_report(
        config.output, allowed_hosts=config.allowed_hosts, console=Console(quiet=True)
    )
    link = page if is_s3(page) else Path(page).as_uri()
    create_link_artifact(without_secrets(link), key=f"{key}-page", description=where)
    thumbnails = make_thumbnails(config.output, NUM_THUMBNAILS, allowed_hosts=config.allowed_hosts)
    text = report_text(
        statistics, thumbnails, title=f"The {key}: {where}", page=page, shortfalls=missed
    )
    create_markdown_artifact(without_secrets(text), key=f"{key}-report", description=where)
