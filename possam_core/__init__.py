"""PosSAM: open-vocabulary panoptic segmentation by SAM's features and CLIP's semantics."""

from typing import TYPE_CHECKING

from possam_core.extras import public_names

if TYPE_CHECKING:
    from possam_core.checkpoints.card import TeacherCard
    from possam_core.labels.segmentation import PanopticSegmentation, Segment
    from possam_core.model import PosSAM
    from possam_core.predictor import Predictor, load_predictor, load_teacher
    from possam_core.teachers.teacher import Proposals, Teacher
    from possam_core.vocabulary.vocabulary import Vocabulary, load_vocabulary

__all__ = [
    "PanopticSegmentation",
    "PosSAM",
    "Predictor",
    "Proposals",
    "Segment",
    "Teacher",
    "TeacherCard",
    "Vocabulary",
    "load_predictor",
    "load_teacher",
    "load_vocabulary",
]

if not TYPE_CHECKING:  # imported when asked for: the model takes seconds, for torch
    __getattr__ = public_names(
        __name__,
        {
            "PanopticSegmentation": "possam_core.labels.segmentation",
            "PosSAM": "possam_core.model",
            "Predictor": "possam_core.predictor",
            "Proposals": "possam_core.teachers.teacher",
            "Segment": "possam_core.labels.segmentation",
            "Teacher": "possam_core.teachers.teacher",
            "TeacherCard": "possam_core.checkpoints.card",
            "Vocabulary": "possam_core.vocabulary.vocabulary",
            "load_predictor": "possam_core.predictor",
            "load_teacher": "possam_core.predictor",
            "load_vocabulary": "possam_core.vocabulary.vocabulary",
        },
    )
