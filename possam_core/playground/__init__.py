"""Procedural panoptic scenes: data for training, tests and demonstrations without downloads."""

from possam_core.playground.classes import (
    UNSEEN_CLASSES,
    playground_vocabulary,
    seen_vocabulary,
)
from possam_core.playground.corpus import write_corpus
from possam_core.playground.scene import Scene, generate_scene

__all__ = [
    "UNSEEN_CLASSES",
    "Scene",
    "generate_scene",
    "playground_vocabulary",
    "seen_vocabulary",
    "write_corpus",
]
