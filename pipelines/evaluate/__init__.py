"""Measuring labels, of a checkpoint or of a run: figures, a record of them, and a page."""

from pipelines.evaluate.checkpoint import evaluate_model
from pipelines.evaluate.config import EvaluateConfig, EvaluateRunConfig
from pipelines.evaluate.figures import ModelEvaluation
from pipelines.evaluate.model_page import write_model_page
from pipelines.evaluate.page import EvaluationPage
from pipelines.evaluate.record import to_record
from pipelines.evaluate.run import EvaluationReport, evaluate_run
from pipelines.evaluate.run_page import write_run_page
from pipelines.evaluate.tables import to_terminal

__all__ = [
    "EvaluateConfig",
    "EvaluateRunConfig",
    "EvaluationPage",
    "EvaluationReport",
    "ModelEvaluation",
    "evaluate_model",
    "evaluate_run",
    "to_record",
    "to_terminal",
    "write_model_page",
    "write_run_page",
]
