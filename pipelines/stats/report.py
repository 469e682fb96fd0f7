"""The report of `possam stats`: statistics of a run, its speed and its drift."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.monitor.status import read_status
from pipelines.run.committed import open_committed
from pipelines.run.grading import why_uncalibrated
from pipelines.run.plan import TeacherRecord
from pipelines.stats.drift import Drift, population_stability_index
from pipelines.stats.run import run_statistics
from pipelines.stats.statistics import Statistics
from pipelines.stats.tables import SCHEMAS, make_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsReport:
    """Statistics of a run, its speed, and its drift from another."""

    location: str
    num_planned: int  # images of the whole run, counted or not
    teacher: TeacherRecord | None  # None: the plan does not record it
    images_per_s: float | None  # from the first commit to the last; None: there is only one commit
    statistics: Statistics
    uncalibrated: str | None  # why the grades promise nothing here; None: they do
    reference: str | None  # location of the run to compare with
    drift: Drift | None  # from the reference

    def to_json(self) -> dict[str, Any]:
        """The counts, and the tables of means and quantiles as lists of rows."""
        tables = make_tables(self.statistics)
        return {
            "location": self.location,
            "num_planned": self.num_planned,
            "teacher": None if self.teacher is None else self.teacher.to_json(),
            "images_per_s": self.images_per_s,
            "uncalibrated": self.uncalibrated,
            "statistics": self.statistics.to_json(),
            "tables": {name: tables[name].to_pylist() for name in SCHEMAS},
            "reference": self.reference,
            "drift": None if self.drift is None else self.drift.to_json(),
        }


def report_statistics(
    location: str,
    *,
    reference: str | None = None,
    on_shard: Callable[[int, int], None] = lambda done, total: None,
) -> StatisticsReport:
    """Count the run at `location`, and compare it with the run at `reference`, if given.

    Raises:
        ConfigError: as `run_statistics` raises for either run.
    """
    statistics = run_statistics(location, on_shard=on_shard)
    status = read_status(location)
    drift = None
    if reference is not None:
        drift = population_stability_index(run_statistics(reference), statistics)
    return StatisticsReport(
        location=status.location,
        num_planned=status.rounds[0].num_images,
        teacher=status.teacher,
        images_per_s=status.pace.images_per_s,
        statistics=statistics,
        uncalibrated=why_uncalibrated(open_committed(location)),
        reference=reference,
        drift=drift,
    )
