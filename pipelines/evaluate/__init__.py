"""Measuring a checkpoint on labelled images: figures, a record of them, and a page."""

from pipelines.evaluate.checkpoint import evaluate_model
from pipelines.evaluate.config import EvaluateConfig
from pipelines.evaluate.figures import ModelEvaluation
from pipelines.evaluate.page import EvaluationPage
from pipelines.evaluate.record import to_record
from pipelines.evaluate.tables import to_terminal

__all__ = [
    "EvaluateConfig",
    "EvaluationPage",
    "ModelEvaluation",
    "evaluate_model",
    "to_record",
    "to_terminal",
]
