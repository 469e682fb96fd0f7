"""Statistics of a run: counted by shard, added up in any order, compared between runs."""

from pipelines.stats.count import shard_statistics
from pipelines.stats.drift import Drift, population_stability_index
from pipelines.stats.run import run_statistics
from pipelines.stats.statistics import Statistics
from pipelines.stats.tables import make_tables

__all__ = [
    "Drift",
    "Statistics",
    "make_tables",
    "population_stability_index",
    "run_statistics",
    "shard_statistics",
]
