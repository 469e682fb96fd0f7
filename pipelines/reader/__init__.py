"""Reads the labels of a run."""

from pipelines.reader.image import LabelledImage
from pipelines.reader.run import LabelledRun, open_run
from pipelines.run.classes import Category
from pipelines.run.committed import Correction

__all__ = ["Category", "Correction", "LabelledImage", "LabelledRun", "open_run"]
