"""Figures in percent, as tables and pages show them."""

from possam_core.evaluation.panoptic_quality import PanopticQuality


def percent(share: float | None) -> str:
    """The share in percent with one decimal; a dash for None.

    >>> percent(0.1234), percent(None)
    ('12.3', '-')
    """
    return "-" if share is None else f"{100 * share:.1f}"


def quality_percents(quality: PanopticQuality) -> tuple[str, str, str]:
    """PQ, SQ and RQ in percent; dashes where no class occurs."""
    if not quality.num_classes:
        return "-", "-", "-"
    return percent(quality.pq), percent(quality.sq), percent(quality.rq)
