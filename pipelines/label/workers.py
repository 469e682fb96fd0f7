"""How many workers a job has."""

from dataclasses import replace

import ray

from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError
from possam_core.processes import default_workers


def with_workers(config: LabelConfig, num_pending: int) -> LabelConfig:
    """The config with its number of workers: as many as fit the GPUs, or all CPUs but one."""
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    if config.gpus_per_worker:
        fitting = int(resources.get("GPU", 0) / config.gpus_per_worker)
        if fitting < (config.num_workers or 1):
            raise ConfigError(
                f"expected {config.num_workers or 1} workers of {config.gpus_per_worker:g} GPUs"
                f" each to fit the cluster, but it has {resources.get('GPU', 0):g} GPUs; lower"
                " --num-workers or --gpus-per-worker"
            )
    else:
        fitting = default_workers(int(resources.get("CPU", 1)))
    num_workers = config.num_workers or fitting
    return replace(config, num_workers=min(num_workers, num_pending))
