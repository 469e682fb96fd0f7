"""The figures of a measured model for a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.evaluate.figures import ModelEvaluation
from pipelines.run.grading import not_calibrated_here
from possam_core.evaluation.percent import percent, quality_percents
from possam_core.evaluation.reliability import CLASS_SCORE, PREDICTED_IOU, SCORE

CLAIM_NAMES = {
    PREDICTED_IOU: "predicted IoU",
    CLASS_SCORE: "class, once matched",
    SCORE: "score",
}


def to_terminal(evaluation: ModelEvaluation) -> RenderableType:
    """The figures x 100, without those of single classes and images."""
    reason = evaluation.uncalibrated
    return Group(
        _quality(evaluation),
        _precision(evaluation),
        _reliability(evaluation),
        _grades(evaluation),
        *([] if reason is None else [Text(not_calibrated_here(reason))]),
    )


def _quality(evaluation: ModelEvaluation) -> Table:
    num_images = len(evaluation.figures.measurement.images)
    table = figures_table(
        f"{evaluation.model_name} on {num_images:,} images, in percent",
        *("classes", "PQ", "SQ", "RQ", "mIoU", "number"),
    )
    mean_ious = evaluation.figures.mean_ious
    for name, q in evaluation.figures.quality.items():
        table.add_row(name, *quality_percents(q), percent(mean_ious[name]), str(q.num_classes))
    return table


def _precision(evaluation: ModelEvaluation) -> Table:
    names = ("AP", "AP50", "AP75", "small", "medium", "large")
    table = figures_table("Average precision of things, in percent", *names)
    ap = evaluation.figures.average_precision
    figures = (ap.ap, ap.ap50, ap.ap75, ap.small, ap.medium, ap.large)
    table.add_row(*(percent(figure) for figure in figures))
    return table


def _reliability(evaluation: ModelEvaluation) -> Table:
    table = figures_table("Reliability, in percent", "of", "segments", "claimed", "true", "ECE")
    for name, curve in evaluation.figures.measurement.reliability.items():
        number = sum(curve.num)
        sums = (sum(curve.claimed), sum(curve.found))
        means = [percent(s / number if number else None) for s in sums]
        error = percent(curve.expected_calibration_error)
        table.add_row(CLAIM_NAMES[name], f"{number:,}", *means, error)
    return table


def _grades(evaluation: ModelEvaluation) -> Table:
    table = figures_table(
        "Grades, in percent",
        *("grade", "images", "PQ", "PQ of an image", "expected"),
    )
    for g in evaluation.grades:
        figures = (g.quality.pq, g.image_pq, g.expected_pq)
        table.add_row(g.grade, f"{g.num_images:,}", *(percent(f) for f in figures))
    return table


def figures_table(title: str, first: str, *others: str, caption: str | None = None) -> Table:
    """A table without rows whose columns, but for the first, are numbers."""
    table = Table(title=title, caption=caption)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
