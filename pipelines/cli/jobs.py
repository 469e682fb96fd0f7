"""The jobs that take settings, by the command that runs them."""

from possam_core.errors import ConfigError, nearest

JOBS = ("label", "train", "evaluate", "calibrate", "export")


def settings_class(job: str) -> type:
    """The settings class of the job called `job`; imported here, because some need torch.

    Raises:
        ConfigError: there is no such job; the message suggests the nearest name.
    """
    match job:
        case "label":
            from pipelines.settings.label import LabelConfig

            return LabelConfig
        case "train":
            from pipelines.train.config import TrainConfig

            return TrainConfig
        case "evaluate":
            from pipelines.evaluate.config import EvaluateConfig

            return EvaluateConfig
        case "calibrate":
            from pipelines.evaluate.calibrate import CalibrateConfig

            return CalibrateConfig
        case "export":
            from pipelines.export.config import ExportConfig

            return ExportConfig
    hint = nearest(job, JOBS, otherwise="name one of them")
    raise ConfigError(f"expected the name of a job ({', '.join(JOBS)}), got {job!r}; {hint}")
