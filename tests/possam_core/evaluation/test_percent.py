import pytest

from possam_core.evaluation.panoptic_quality import PanopticQuality
from possam_core.evaluation.percent import percent, quality_percents


@pytest.mark.parametrize(
    ("share", "text"), [(0.1234, "12.3"), (0.0, "0.0"), (1.0, "100.0"), (None, "-")]
)
def test_a_share_is_shown_in_percent_and_none_as_a_dash(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_the_quality_of_no_class_is_dashes() -> None:
    found = PanopticQuality(pq=0.5, sq=0.75, rq=2 / 3, num_classes=4)
    assert quality_percents(found) == ("50.0", "75.0", "66.7")
    nothing = PanopticQuality(pq=0.0, sq=0.0, rq=0.0, num_classes=0)
    assert quality_percents(nothing) == ("-", "-", "-")
