"""Checks that this machine, its cluster and its stores are fit for a run, before one starts."""

from pipelines.doctor.check import Check
from pipelines.doctor.examination import run_doctor

__all__ = ["Check", "run_doctor"]
