"""Measuring a checkpoint on labelled images: figures, a record of them, and a page."""

from pipelines.model_evaluation.config import EvaluateConfig
from pipelines.model_evaluation.evaluate_model import evaluate_model
from pipelines.model_evaluation.figures import ModelEvaluation
from pipelines.model_evaluation.page import EvaluationPage
from pipelines.model_evaluation.record import to_record
from pipelines.model_evaluation.tables import to_terminal

__all__ = [
    "EvaluateConfig",
    "EvaluationPage",
    "ModelEvaluation",
    "evaluate_model",
    "to_record",
    "to_terminal",
]
