"""Checks, before a run starts, that this machine, its cluster and its stores are fit for one."""

from pipelines.doctor.check import Check
from pipelines.doctor.examination import run_doctor

__all__ = ["Check", "run_doctor"]
