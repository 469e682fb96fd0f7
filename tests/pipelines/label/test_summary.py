"""The summary of a run that has ended."""

import io
import json

import pytest
from rich.console import Console

from pipelines.label.exit_codes import exit_code
from pipelines.label.session import LabelReport
from pipelines.label.summary import summarise, to_record
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


def test_the_record_for_programs_says_whether_the_run_is_complete() -> None:
    done = json.loads(
        json.dumps(to_record(LabelReport(location="run", num_shards=2, manifest=MANIFEST)))
    )
    assert (done["is_complete"], done["totals"]["images"]) == (True, 60)
    assert done["root_hash"] == "0" * 64
    stopped = LabelReport(
        location="run", num_shards=2, manifest=None, open_shards={1: "no file"}, is_stopped=True
    )
    left = json.loads(json.dumps(to_record(stopped)))
    assert (left["is_complete"], left["totals"], left["root_hash"]) == (False, None, None)
    assert left["open_shards"] == {"1": "no file"}


def test_the_exit_code_says_how_a_run_ended() -> None:
    assert exit_code(LabelReport(location="run", num_shards=2, manifest=MANIFEST)) == 0
    assert (
        exit_code(
            LabelReport(location="run", num_shards=2, manifest=None, open_shards={1: "no file"})
        )
        == 1
    )
    assert (
        exit_code(
            LabelReport(
                location="run", num_shards=2, manifest=None, open_shards={1: ""}, is_stopped=True
            )
        )
        == 143
    )
