"""A comparison for people to read: in a terminal, and above the images of its page."""

from rich.console import Group, RenderableType
from rich.table import Table

from pipelines.compare.comparison import OUTCOMES, Comparison, readable
from pipelines.report.viewer import SummaryTable
from possam_core.errors import counted
from possam_core.evaluation.percent import quality_percents

NUM_FLOWS = 20
SHOWN_IN_TERMINAL = 12


def quality_table(comparison: Comparison) -> SummaryTable:
    """PQ, SQ and RQ of the groups of classes."""
    rows = [
        (name, *quality_percents(quality), str(quality.num_classes))
        for name, quality in comparison.quality().items()
        if quality.num_classes
    ]
    return SummaryTable(
        title="PQ of B against A, %",
        columns=("classes", "PQ", "SQ", "RQ", "number"),
        rows=rows,
    )


def shift_table(comparison: Comparison) -> SummaryTable:
    """Each class in the two runs."""
    rows = []
    for shift in comparison.class_shifts():
        area_a, area_b = (100 * share for share in shift.area)
        change = f"{area_b - area_a:+.2f}" if shift.area_change else "0"
        rows.append(
            (
                shift.name,
                "{:,} → {:,}".format(*shift.images),
                "{:,} → {:,}".format(*shift.segments),
                f"{area_a:.2f} → {area_b:.2f}",
                change,
                quality_percents(shift.quality)[0],
            )
        )
    return SummaryTable(
        title="Classes, by change of their area",
        columns=("class", "images", "segments", "% of area", "change", "PQ"),
        rows=rows,
    )


def flow_table(comparison: Comparison) -> SummaryTable:
    """The pixels that changed from one class to another."""
    rows = [
        (f"{readable(a)} → {readable(b)}", f"{100 * share:.3f}")
        for a, b, share in comparison.largest_flows(NUM_FLOWS)
    ]
    return SummaryTable(title="What became what", columns=("class", "% of pixels"), rows=rows)


def to_terminal(comparison: Comparison) -> RenderableType:
    """The tables, cut to fit on a screen."""
    tables = (quality_table(comparison), shift_table(comparison), flow_table(comparison))
    return Group(*(_rich(table) for table in tables if table.rows), summary(comparison))


def summary(comparison: Comparison) -> str:
    """One sentence about which images were compared."""
    counts = ((comparison.outcomes[outcome], outcome) for outcome in OUTCOMES)
    outcomes = ", ".join(f"{count:,} labelled {outcome}" for count, outcome in counts if count)
    text = (
        f"{counted(comparison.num_images, 'image')} in both runs ({outcomes});"
        f" {100 * comparison.changed:.2f} % of their pixels have another class."
    )
    for name, count in zip("AB", comparison.num_only_in, strict=True):
        if count:
            text += f" Left out: {counted(count, 'image')} only in {name}."
    return text


def _rich(content: SummaryTable) -> Table:
    left_out = len(content.rows) - SHOWN_IN_TERMINAL
    caption = f"and {left_out:,} more on the page" if left_out > 0 else None
    table = Table(title=content.title, title_justify="left", caption=caption)
    for number, name in enumerate(content.columns):
        table.add_column(name, justify="right" if number else "left")
    for row in content.rows[:SHOWN_IN_TERMINAL]:
        table.add_row(*row)
    return table
