"""`possam report`: a folder of static files that shows a run in a viewer."""

from pipelines.report.run_report import MAX_IMAGES, write_report

__all__ = ["MAX_IMAGES", "write_report"]
