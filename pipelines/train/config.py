"""The settings of a training: the YAML file and the command's flags."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pipelines.storage.addresses import normalise_location
from possam_core.errors import ConfigError
from possam_core.training.data.augment import AugmentConfig
from possam_core.training.losses import LossConfig
from possam_core.training.network import NetworkConfig
from possam_core.training.stage import LoopConfig

# What may differ when a training goes on: where it runs, and how often it tells and saves.
CHANGEABLE = (
    "output",
    "num_workers",
    "use_gpu",
    "max_restarts",
    "num_readers",
    "feature_cache",
    "loop.images_at_once",
    "loop.log_every",
    "loop.save_every",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Labelled images: scenes of a world, drawn on the fly, or a data set in COCO's format."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    source: Literal["playground", "coco-panoptic"]
    limit: int | None = None  # take at most so many images, the first
    # playground
    world: Literal["playground", "workshop"] = "playground"
    num_scenes: int | None = None
    scene_seed: int = 0
    seen_only: bool = False  # only the classes that training may show
    # coco-panoptic; folders and JSON are local or s3://
    vocabulary: str | None = None  # built-in name or YAML file: what the classes are
    images: str | None = None  # folder
    annotations: str | None = None  # JSON
    masks: str | None = None  # folder of the id PNGs; None: the JSON without its suffix

    def __post_init__(self) -> None:
        wrong = []
        is_coco = self.source == "coco-panoptic"
        for name in ("vocabulary", "images", "annotations"):
            if is_coco != (getattr(self, name) is not None):
                wrong.append(
                    f"{name} {'must be named' if is_coco else 'must be left out'} for the source"
                    f" {self.source!r}"
                )
        if is_coco != (self.num_scenes is None):
            verb = "must be left out" if is_coco else "must be named"
            wrong.append(f"num_scenes {verb} for the source {self.source!r}")
        if is_coco and self.world != "playground":
            wrong.append(f"world must be left out for the source {self.source!r}")
        for name in ("num_scenes", "limit"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                wrong.append(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.scene_seed < 0:
            wrong.append(f"scene_seed must be 0 or more, got {self.scene_seed}")
        if self.annotations is not None and not self.annotations.endswith(".json"):
            wrong.append(f"annotations must be a .json file, got {self.annotations}")
        if wrong:
            raise ConfigError("; ".join(wrong))
        for name in ("images", "annotations", "masks"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, normalise_location(getattr(self, name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """What learns from what, how, and where."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    output: str  # folder: local, or an s3:// prefix
    network: NetworkConfig
    data: DataConfig  # its vocabulary is what the classifier learns
    validation: DataConfig  # the same vocabulary or another
    loop: LoopConfig
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    num_workers: int | None = None  # processes on a Ray cluster; None: this process, without Ray
    use_gpu: bool = False  # one for each worker
    max_restarts: int = 0  # of all workers, when one is lost; they go on from the last state
    num_readers: int = 4  # threads of each worker that read and decode images
    num_examples: int = 4  # held-out images that TensorBoard shows
    feature_cache: str | None = None  # local folder; needs fixed views

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", normalise_location(self.output))
        workers = self.num_workers or 1
        wrong = [
            f"{name} must be {wanted}, got {getattr(self, name)}{remedy}"
            for name, is_fine, wanted, remedy in (
                ("num_workers", self.num_workers is None or self.num_workers >= 1, "at least 1",
                 "; leave it out to train without Ray"),
                ("max_restarts", self.max_restarts >= 0, "0 or more", ""),
                ("num_readers", self.num_readers >= 1, "at least 1", ""),
                ("num_examples", self.num_examples >= 0, "0 or more", ""),
            )
            if not is_fine
        ]  # fmt: skip
        if workers >= 1 and self.loop.batch_size % workers:
            wrong.append(
                f"loop.batch_size must be a multiple of num_workers {workers}, got"
                f" {self.loop.batch_size}"
            )
        if self.feature_cache and not (self.augment.is_fixed and not self.network.sam_learns_until):
            wrong.append(
                "feature_cache needs views that come again and a frozen SAM; set"
                " augment.min_scale and augment.max_scale to 1 and leave out"
                " network.sam_learns_until, or the cache"
            )
        if wrong:
            raise ConfigError("; ".join(wrong))


def learned_from(config: TrainConfig) -> dict[str, Any]:
    """By dotted name, the settings that must stay the same when a training goes on."""
    flat: dict[str, Any] = {}

    def collect(prefix: str, settings: dict[str, Any]) -> None:
        for name, value in settings.items():
            if isinstance(value, dict):
                collect(f"{prefix}{name}.", value)
            elif prefix + name not in CHANGEABLE:
                flat[prefix + name] = list(value) if isinstance(value, tuple) else value

    collect("", asdict(config))
    return flat
