"""The figures of a measured model for a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table

from pipelines.evaluate.figures import ModelEvaluation
from possam_core.evaluation.reliability import CLASS_SCORE, PREDICTED_IOU, SCORE

CLAIM_NAMES = {
    PREDICTED_IOU: "predicted IoU",
    CLASS_SCORE: "class, once matched",
    SCORE: "score",
}


def to_terminal(evaluation: ModelEvaluation) -> RenderableType:
    """The figures x 100, without those of single classes and images."""
    return Group(
        _quality(evaluation), _precision(evaluation), _reliability(evaluation), _grades(evaluation)
    )


def percent(share: float | None) -> str:
    """The share in percent with one decimal; a dash for None."""
    return "-" if share is None else f"{100 * share:.1f}"


def _quality(evaluation: ModelEvaluation) -> Table:
    table = _table(
        f"{evaluation.model_name} on {len(evaluation.measurement.images):,} images, in percent",
        *("classes", "PQ", "SQ", "RQ", "mIoU", "number"),
    )
    for name, q in evaluation.quality.items():
        scores = [percent(s) if q.num_classes else "-" for s in (q.pq, q.sq, q.rq)]
        table.add_row(name, *scores, percent(evaluation.mean_ious[name]), str(q.num_classes))
    return table


def _precision(evaluation: ModelEvaluation) -> Table:
    table = _table("Average precision of things, in percent", *("AP", "AP50", "AP75"))
    ap = evaluation.average_precision
    for name in ("small", "medium", "large"):
        table.add_column(name, justify="right")
    figures = (ap.ap, ap.ap50, ap.ap75, ap.small, ap.medium, ap.large)
    table.add_row(*(percent(figure) for figure in figures))
    return table


def _reliability(evaluation: ModelEvaluation) -> Table:
    table = _table("Reliability, in percent", "of", "segments", "claimed", "true", "ECE")
    for name, curve in evaluation.measurement.reliability.items():
        number = sum(curve.num)
        sums = (sum(curve.claimed), sum(curve.found))
        means = [percent(s / number if number else None) for s in sums]
        error = percent(curve.expected_calibration_error)
        table.add_row(CLAIM_NAMES[name], f"{number:,}", *means, error)
    return table


def _grades(evaluation: ModelEvaluation) -> Table:
    table = _table("Grades, in percent", "grade", "images", "PQ", "PQ of an image", "expected")
    for g in evaluation.grades:
        figures = (g.quality.pq, g.image_pq, g.expected_pq)
        table.add_row(g.grade, f"{g.num_images:,}", *(percent(f) for f in figures))
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
