"""What the UI shows of a labelled run: tables of statistics, a page with pictures, the HTML report.

`counts` has the same figures as plain data, for events.
"""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from rich.console import Console

from pipelines.monitor.advice import ADVICE, CAN_RETRY
from pipelines.redaction import without_secrets
from pipelines.report.thumbnails import Thumbnail, make_thumbnails
from pipelines.run.committed import open_committed
from pipelines.run.grading import standing, why_uncalibrated
from pipelines.settings.label import LabelConfig
from pipelines.stats import Statistics
from pipelines.stats.thresholds import mean_grade, mean_score
from pipelines.storage.addresses import is_s3
from possam_core.images.decode import ImageErrorCode

Table = list[dict[str, Any]]

MAX_CLASSES = 50
PICTURES_A_ROW = 3
NUM_THUMBNAILS = 6  # some 8 KB each in the text


def create_run_artifacts(
    config: LabelConfig, statistics: Statistics, missed: Sequence[str], *, key: str
) -> None:
    """Write the HTML report of a labelled run, and create artifacts whose keys begin with `key`.

    Args:
        config: of the run.
        statistics: of its labels.
        missed: thresholds that they miss.
        key: the stage, canary or corpus.
    """
    from pipelines.report import write_report  # imports torch, which takes seconds

    where = without_secrets(config.output)
    uncalibrated = why_uncalibrated(open_committed(config.output))
    overview = overview_table(statistics, uncalibrated)
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
        statistics,
        thumbnails,
        title=f"The {key}: {where}",
        page=page,
        shortfalls=missed,
        uncalibrated=uncalibrated,
    )
    create_markdown_artifact(without_secrets(text), key=f"{key}-report", description=where)


def counts(statistics: Statistics) -> dict[str, Any]:
    """The most important figures as plain data, for events."""
    return {
        "images": statistics.num_images,
        "ok": statistics.num_ok,
        "errors": dict(sorted(statistics.errors.items())),
        "segments": statistics.num_segments,
        "grades": dict(sorted(statistics.grades.items())),
        "mean_score": mean_score(statistics),
        "mean_grade": mean_grade(statistics),
    }


def overview_table(statistics: Statistics, uncalibrated: str | None = None) -> Table:
    """One row for each figure."""
    num_errors = statistics.num_images - statistics.num_ok
    rows = [
        ("images", f"{statistics.num_images:,}"),
        ("labelled", f"{statistics.num_ok:,}"),
        ("errors", f"{num_errors:,} ({num_errors / max(1, statistics.num_images):.1%})"),
        *((f"error {code}", f"{n:,}") for code, n in sorted(statistics.errors.items())),
        ("segments", f"{statistics.num_segments:,}"),
        ("grades", standing(uncalibrated)),
        *((f"grade {grade}", f"{n:,}") for grade, n in sorted(statistics.grades.items())),
        ("mean grade (4 is A, 1 is D)", _number(mean_grade(statistics))),
        ("mean score", _number(mean_score(statistics))),
    ]
    return [{"figure": name, "value": value} for name, value in rows]


def class_table(statistics: Statistics) -> Table:
    """One row for each class, those with most segments first."""
    classes = sorted(statistics.by_class().items(), key=lambda item: -item[1].num_segments)
    total_px = max(1, statistics.all_segments().area_px)
    return [
        {
            "class": kind.name,
            "kind": "thing" if kind.is_thing else "stuff",
            "segments": figures.num_segments,
            "images": statistics.num_images_with(kind.name),
            "share of area": f"{figures.area_px / total_px:.1%}",
            "mean score": _number(figures.measures["score"].mean),
        }
        for kind, figures in classes[:MAX_CLASSES]
    ]


def report_text(
    statistics: Statistics,
    thumbnails: Sequence[Thumbnail],
    *,
    title: str,
    page: str,
    shortfalls: Sequence[str],
    uncalibrated: str | None = None,
) -> str:
    """A page in Markdown: verdict, pictures, grades, errors with advice.

    Args:
        statistics: of the run.
        thumbnails: some of its images.
        title: what the run is called.
        page: address of the HTML report.
        shortfalls: thresholds that it misses.
        uncalibrated: why its grades promise nothing; None: they do.
    """
    parts = [f"# {title}", *_verdict(shortfalls)]
    if thumbnails:
        parts.append("\n".join(_picture_lines(thumbnails)))
    grades = ", ".join(f"{grade}: {n:,}" for grade, n in sorted(statistics.grades.items()))
    parts.append(
        f"{statistics.num_ok:,} of {statistics.num_images:,} images are labelled, with"
        f" {statistics.num_segments:,} segments. Grades: {grades or 'none'}."
    )
    if uncalibrated is not None:
        parts.append(f"**Its grades are {standing(uncalibrated)}.**")
    if statistics.errors:
        parts.append("## Images without labels\n\n" + "\n".join(_error_lines(statistics)))
    parts.append(f"Every image, worst first: `{page}`")
    return "\n\n".join(parts)


def _verdict(shortfalls: Sequence[str]) -> Iterable[str]:
    if shortfalls:
        yield "**It does not pass:**\n\n" + "\n".join(f"- {reason}" for reason in shortfalls)
    else:
        yield "It passes its thresholds."


def _picture_lines(thumbnails: Sequence[Thumbnail]) -> Iterable[str]:
    """A table, because Prefect shows pictures without one below each other."""
    for first in range(0, len(thumbnails), PICTURES_A_ROW):
        row = thumbnails[first : first + PICTURES_A_ROW]
        blank = [""] * (PICTURES_A_ROW - len(row))
        yield _cells([*(f"{_plain(t.name)}: {t.grade}" for t in row), *blank])
        if first == 0:
            yield _cells(["---"] * PICTURES_A_ROW)
        yield _cells([*map(_picture, row), *blank])


def _cells(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _picture(thumbnail: Thumbnail) -> str:
    data = base64.b64encode(thumbnail.jpeg).decode("ascii")
    return f"![{_plain(thumbnail.name)}](data:image/jpeg;base64,{data})"


def _plain(name: str) -> str:
    """A file name without secrets and without characters that Markdown interprets."""
    shown = without_secrets(name)
    return "".join("_" if c in "[]()|`*<>!\\" or not c.isprintable() else c for c in shown)


def _error_lines(statistics: Statistics) -> Iterable[str]:
    yield "| error | images | what to do | retry may help |"
    yield "|---|---|---|---|"
    for code, number in sorted(statistics.errors.items(), key=lambda item: -item[1]):
        known = ImageErrorCode(code)
        can_retry = "yes" if known in CAN_RETRY else "no"
        yield f"| `{code}` | {number:,} | {ADVICE[known]} | {can_retry} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
