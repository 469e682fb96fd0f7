"""Procedural panoptic scenes: data for training, tests and demonstrations without downloads."""

from possam_core.playground.corpus import write_corpus
from possam_core.playground.scene import Scene, generate_scene
from possam_core.playground.world import PLAYGROUND, WORKSHOP, World, find_world

__all__ = [
    "PLAYGROUND",
    "WORKSHOP",
    "Scene",
    "World",
    "find_world",
    "generate_scene",
    "write_corpus",
]
