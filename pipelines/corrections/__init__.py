"""Corrections by people, which are added to a run and replace the model's labels."""

from pipelines.corrections.correct import CorrectionReport, correct_run

__all__ = ["CorrectionReport", "correct_run"]
