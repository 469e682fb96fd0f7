"""Labels of a run in the formats of other programs."""

from pipelines.export.config import ExportConfig
from pipelines.export.export_format import ExportFormat
from pipelines.export.run import ExportReport, run_export

__all__ = ["ExportConfig", "ExportFormat", "ExportReport", "run_export"]
