"""`possam report`: a folder of static files that shows a run, and the viewer that it is made of."""

from pipelines.report.run_report import MAX_IMAGES, write_report

__all__ = ["MAX_IMAGES", "write_report"]
