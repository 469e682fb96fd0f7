"""What people correct comes back into the run, and wins over the machine's labels."""

from pipelines.corrections.correct import CorrectionReport, correct_run

__all__ = ["CorrectionReport", "correct_run"]
