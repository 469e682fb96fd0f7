"""Reads what a run has labelled."""

from pipelines.committed import Correction
from pipelines.frozen_vocabulary import Category
from pipelines.reader.image import LabelledImage
from pipelines.reader.run import LabelledRun, open_run

__all__ = ["Category", "Correction", "LabelledImage", "LabelledRun", "open_run"]
