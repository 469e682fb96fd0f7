"""`possam compare`: what changed from one run to another of the same images."""

from pipelines.compare.run_compare import ComparisonReport, compare_runs

__all__ = ["ComparisonReport", "compare_runs"]
