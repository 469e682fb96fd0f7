"""Jobs on Ray Data, the `possam` command, and the names that other programs use."""

from typing import TYPE_CHECKING

from possam_core.extras import public_names

if TYPE_CHECKING:
    from pipelines.export import ExportConfig, ExportFormat, run_export
    from pipelines.fetch.image_reader import ImageReader
    from pipelines.label.session import run_label
    from pipelines.monitor.status import read_status
    from pipelines.reader import LabelledImage, LabelledRun, open_run
    from pipelines.report import write_report
    from pipelines.settings.label import LabelConfig
    from pipelines.stats import Statistics, make_tables, run_statistics
    from pipelines.verify import verify_run

__all__ = [
    "ExportConfig",
    "ExportFormat",
    "ImageReader",
    "LabelConfig",
    "LabelledImage",
    "LabelledRun",
    "Statistics",
    "make_tables",
    "open_run",
    "read_status",
    "run_export",
    "run_label",
    "run_statistics",
    "verify_run",
    "write_report",
]

if not TYPE_CHECKING:  # imported when asked for: each of our imports runs this file
    __getattr__ = public_names(
        __name__,
        {
            "ExportConfig": "pipelines.export",
            "ExportFormat": "pipelines.export",
            "ImageReader": "pipelines.fetch.image_reader",
            "LabelConfig": "pipelines.settings.label",
            "LabelledImage": "pipelines.reader",
            "LabelledRun": "pipelines.reader",
            "Statistics": "pipelines.stats",
            "make_tables": "pipelines.stats",
            "open_run": "pipelines.reader",
            "read_status": "pipelines.monitor.status",
            "run_export": "pipelines.export",
            "run_label": "pipelines.label.session",
            "run_statistics": "pipelines.stats",
            "verify_run": "pipelines.verify",
            "write_report": "pipelines.report",
        },
    )
