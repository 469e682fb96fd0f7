"""The jobs that take settings, by the command that runs them."""

from pipelines.evaluate.calibrate import CalibrateConfig
from pipelines.evaluate.config import EvaluateConfig
from pipelines.export.config import ExportConfig
from pipelines.settings.label import LabelConfig
from pipelines.train.config import TrainConfig
from possam_core.errors import ConfigError, nearest

JOBS: dict[str, type] = {
    "label": LabelConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "calibrate": CalibrateConfig,
    "export": ExportConfig,
}


def find_job(name: str) -> type:
    """The settings of the job called `name`.

    Raises:
        ConfigError: there is none; the message proposes the nearest name.
    """
    if name not in JOBS:
        hint = nearest(name, list(JOBS), otherwise="name one of them")
        raise ConfigError(f"expected the name of a job ({', '.join(JOBS)}), got {name!r}; {hint}")
    return JOBS[name]
