"""How many workers a job has, and how they compute."""

from dataclasses import replace

import ray

from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError
from possam_core.processes import default_workers


def with_workers(config: LabelConfig, num_pending: int) -> LabelConfig:
    """The config with nothing left to the cluster.

    A worker has a GPU where there are any; there are as many as fit the GPUs, or all CPUs but one.
    """
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    if config.gpus_per_worker is None:
        config = replace(config, gpus_per_worker=float(resources.get("GPU", 0) >= 1))
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


def is_compiled(config: LabelConfig) -> bool:
    """Whether SAM's encoder is to be compiled."""
    return bool(config.gpus_per_worker) if config.compile is None else config.compile


def has_channels_last(config: LabelConfig) -> bool:
    """Whether convolutions are to hold their weights with the channels last."""
    return bool(config.gpus_per_worker) if config.channels_last is None else config.channels_last
