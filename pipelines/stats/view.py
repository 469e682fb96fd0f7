"""What `possam stats` prints: totals, then grades, sizes, scores, classes, errors and drift."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.run.grading import standing
from pipelines.run.plan import NOT_KNOWN
from pipelines.stats.drift import MUCH_DRIFT, SOME_DRIFT, Drift
from pipelines.stats.histogram import Histogram
from pipelines.stats.report import StatisticsReport
from pipelines.stats.statistics import NUM_SCORE_BANDS, SegmentFigures, Statistics
from pipelines.stats.tables import QUANTILE_NAMES

MAX_CLASSES = 20  # --json and the tables in the run have all
MAX_PAIRS = 10
MAX_SHIFTS = 5
CONSISTENCY = "consistency"  # of sampled images alone, so of none is no surprise
NOTHING = "-"
QUANTILES_SHOWN = ("p05", "p50", "p95")


def statistics_view(report: StatisticsReport) -> RenderableType:
    """Tables for a terminal."""
    statistics = report.statistics
    parts: list[RenderableType] = [Text(_headline(report))]
    if report.uncalibrated is not None:
        parts.append(Text(standing(report.uncalibrated)))
    if statistics.num_ok:
        parts += [_grades(statistics), _images(statistics)]
    if statistics.num_segments:
        parts += _not_known(statistics.all_segments())
        parts += [_sizes(statistics), _scores(statistics), _classes(statistics)]
        parts += _pairs(statistics)
    if statistics.errors:
        parts.append(_errors(statistics))
    if report.drift is not None:
        drift = _drift(report.drift, title=f"drift from {report.reference}")
        parts.append(drift)
    return Group(*chain.from_iterable(("", part) for part in parts))


def _headline(report: StatisticsReport) -> str:
    found = report.statistics
    sentence = (
        f"{report.location}: {found.num_images:,} of {report.num_planned:,} images,"
        f" {found.num_ok:,} labelled with {found.num_segments:,} segments,"
        f" {sum(found.errors.values()):,} failed"
    )
    if found.num_corrected:
        sentence += f", {found.num_corrected:,} corrected by people"
    if report.teacher is not None:
        sentence += f"; labelled by {report.teacher.text}"
    if report.images_per_s is not None:
        sentence += f"; {report.images_per_s:,.1f} images/s from the first commit to the last"
    return sentence


def _not_known(figures: SegmentFigures) -> Iterator[Text]:
    """Which measures the model does not know of all segments."""
    unknown = {name: number for name, number in figures.num_unknown().items() if number}
    if unknown:
        texts = ", ".join(f"{name} of {number:,}" for name, number in unknown.items())
        yield Text(f"{NOT_KNOWN}: {texts} of {figures.num_segments:,} segments")


def _grades(statistics: Statistics) -> Table:
    table = _table("grades", "grade", "images", "share", last="reasons")
    for grade, number in sorted(statistics.grades.items()):
        reasons = [(n, reason) for (of, reason), n in statistics.reasons.items() if of == grade]
        texts = ", ".join(f"{reason} {n:,}" for n, reason in sorted(reasons, reverse=True))
        table.add_row(grade, f"{number:,}", _share(number, statistics.num_ok), texts)
    return table


def _images(statistics: Statistics) -> Table:
    table = _table("labelled images", "measure", "images", "mean", *QUANTILES_SHOWN)
    for name, histogram in statistics.images.items():
        if histogram.num_values:
            mean = f"{histogram.mean:.2f}"
            table.add_row(name, f"{histogram.num_values:,}", mean, *_quantiles(histogram))
        elif name != CONSISTENCY:
            table.add_row(name, "0", NOT_KNOWN)
    return table


def _sizes(statistics: Statistics) -> Table:
    rows = ((size, figures) for size, figures in statistics.by_size().items())
    return _figures(
        "segments by size; p05 to p95 are of their scores", "size", rows, statistics.num_segments
    )


def _scores(statistics: Statistics) -> Table:
    rows = (
        (f"{band / NUM_SCORE_BANDS:.1f} to {(band + 1) / NUM_SCORE_BANDS:.1f}", figures)
        for band, figures in sorted(statistics.score_bands.items())
    )
    return _figures("segments by score", "score", rows, statistics.num_segments)


def _classes(statistics: Statistics) -> Table:
    by_class = statistics.by_class()
    most = sorted(by_class.items(), key=lambda item: (-item[1].num_segments, item[0]))
    title = f"segments by class, {min(MAX_CLASSES, len(most))} of {len(most)}"
    rows = ((c.name, figures) for c, figures in most[:MAX_CLASSES])
    return _figures(title, "class", rows, statistics.num_segments)


def _pairs(statistics: Statistics) -> Iterator[Table]:
    different = [(n, pair) for pair, n in statistics.pairs.items() if pair[0] != pair[1]]
    if not different:
        return
    table = _table("seen together", "classes", "images")
    for number, pair in sorted(different, key=lambda item: (-item[0], item[1]))[:MAX_PAIRS]:
        table.add_row(" + ".join(pair), f"{number:,}")
    yield table


def _errors(statistics: Statistics) -> Table:
    table = _table("errors", "code", "images", "share")
    for code, number in sorted(statistics.errors.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(code, f"{number:,}", _share(number, statistics.num_images))
    return table


def _drift(drift: Drift, *, title: str) -> Table:
    table = _table(title, "of", "index", last="that is")
    for name, index in (("class", drift.classes), ("size", drift.sizes), ("score", drift.scores)):
        table.add_row(name, f"{index:.3f}", _verdict(index))
    for shift in drift.shifts[:MAX_SHIFTS]:
        if shift.contribution > 0:
            change = f"{shift.reference_share:.1%} -> {shift.current_share:.1%} of the segments"
            table.add_row(f"  {shift.name}", f"{shift.contribution:.3f}", change)
    return table


def _verdict(index: float) -> str:
    if index < SOME_DRIFT:
        return "steady"
    return "some drift" if index < MUCH_DRIFT else "much drift"


def _quantiles(histogram: Histogram) -> list[str]:
    values = (histogram.quantile(QUANTILE_NAMES[name]) for name in QUANTILES_SHOWN)
    return [NOTHING if value is None else f"{value:.2f}" for value in values]


def _figures(
    title: str, name: str, rows: Iterable[tuple[str, SegmentFigures]], num_segments: int
) -> Table:
    measures = ("IoU", "margin", "stable", "CLIP")
    table = _table(title, name, "segments", "share", *QUANTILES_SHOWN, *measures)
    for label, figures in rows:
        table.add_row(
            label,
            f"{figures.num_segments:,}",
            _share(figures.num_segments, num_segments),
            *_quantiles(figures.measures["score"]),
            *_means(figures.measures, ("predicted_iou", "margin", "stability_score")),
            NOTHING if figures.clip_agreement is None else f"{figures.clip_agreement:.0%}",
        )
    return table


def _means(measures: Mapping[str, Histogram], names: Iterable[str]) -> list[str]:
    means = (measures[name].mean for name in names)
    return [NOTHING if mean is None else f"{mean:.2f}" for mean in means]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}"


def _table(title: str, first: str, *numbers: str, last: str | None = None) -> Table:
    # Narrow, so that the widest has room in a terminal of 80 columns.
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False)
    table.padding = (0, 1, 0, 0)
    table.pad_edge = False
    table.add_column(first, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    if last is not None:
        table.add_column(last, overflow="fold")
    return table
