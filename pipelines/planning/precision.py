"""The number format of a new plan, where none was asked for.

Labels depend on it, so a plan freezes it; a plan that is there keeps its own.
"""

import os
import sys
from glob import glob

from pipelines.run.plan import Plan
from pipelines.settings.label import LabelConfig
from possam_core.arithmetic import Precision

GPU_FILES = ("/dev/nvidia[0-9]*", "/dev/dxg")  # of Linux, and of Linux inside Windows
NO_GPU = ("", "-1")  # of CUDA_VISIBLE_DEVICES


def chosen_precision(config: LabelConfig, plan: Plan | None) -> Precision:
    """What was asked for, else the plan's; of a new plan bfloat16 on GPUs and float32 on CPUs."""
    if config.precision is not None:
        return config.precision
    if plan is not None:
        return plan.settings.precision
    gpus = config.gpus_per_worker
    is_on_gpus = _are_gpus_there() if gpus is None else gpus > 0
    return "bfloat16" if is_on_gpus else "float32"


def _are_gpus_there() -> bool:
    """Whether the cluster that would label has GPUs, or else this machine."""
    ray = sys.modules.get("ray")
    if os.environ.get("RAY_ADDRESS") or (ray is not None and ray.is_initialized()):
        from pipelines.ray_cluster import has_gpus  # slow to import

        return has_gpus()
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in NO_GPU
    return not is_hidden and any(glob(pattern) for pattern in GPU_FILES)  # noqa: PTH207
