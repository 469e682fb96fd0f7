"""What the user reads when a run has ended."""

import io

import pytest
from rich.console import Console

from pipelines.label.session import LabelReport
from pipelines.label.summary import summarise
from pipelines.run.manifest import Manifest, Totals

MANIFEST = Manifest(
    plan_id="1",
    schema_version="1",
    root_hash="0" * 64,
    totals=Totals(
        images=60, ok=60, errors={}, segments=0, things=0, stuff=0, mean_score=None, grades={}
    ),
    files=(),
)


def text_of(report: LabelReport) -> str:
    stream = io.StringIO()
    Console(file=stream, width=100).print(summarise(report))
    return stream.getvalue()


@pytest.mark.parametrize(("rate", "shown"), [(12.0, "12.0"), (None, "-")])
def test_images_a_second_are_those_of_the_report_and_not_all_by_part_of_the_time(
    rate: float | None, shown: str
) -> None:
    report = LabelReport(
        location="/run",
        num_shards=1,
        manifest=MANIFEST,
        num_images=60,
        seconds=15.0,
        startup_seconds=11.0,
        images_per_s=rate,
    )
    (line,) = [line for line in text_of(report).splitlines() if "images/s" in line]
    assert line.strip("│ ").split()[1:] == ["│", shown]
