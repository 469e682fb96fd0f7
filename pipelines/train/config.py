"""The settings of a training, from a YAML file and the command's flags."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pipelines.settings.shared_fields import OneGpu
from pipelines.storage.addresses import normalise_location
from possam_core.settings import Setting, require_valid
from possam_core.training.data.augment import AugmentConfig
from possam_core.training.loss_config import LossConfig
from possam_core.training.network import NetworkConfig
from possam_core.training.stage import LoopConfig

# Settings that may differ when a training is resumed: where it runs, how often it logs and saves.
CHANGEABLE = (
    "output",
    "num_workers",
    "gpus_per_worker",
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

    source: Annotated[
        Literal["playground", "coco-panoptic"],
        Setting("scenes drawn on the fly, or a data set in COCO panoptic format"),
    ]
    limit: Annotated[
        int | None, Setting("take at most so many images, the first", ge=1, unset="all")
    ] = None
    world: Annotated[
        Literal["playground", "workshop"], Setting("of a drawn source: what the scenes are of")
    ] = "playground"
    num_scenes: Annotated[
        int | None,
        Setting(
            "of a drawn source: scenes to draw",
            ge=1,
            le=100_000_000,
            unset="none",
            example=16000,
        ),
    ] = None
    scene_seed: Annotated[
        int, Setting("of a drawn source: the same seed gives the same scenes", ge=0)
    ] = 0
    seen_only: Annotated[
        bool, Setting("of a drawn source: only the classes that training may show")
    ] = False
    vocabulary: Annotated[
        str | None,
        Setting(
            "of a data set: what its classes are, a built-in name or a YAML file",
            unset="the world's",
            example="coco-panoptic",
        ),
    ] = None
    images: Annotated[
        str | None,
        Setting(
            "of a data set: folder of the images, local or s3://",
            unset="none",
            example="data/coco/val2017",
        ),
    ] = None
    annotations: Annotated[
        str | None,
        Setting(
            "of a data set: JSON in COCO panoptic format, local or s3://",
            unset="none",
            example="data/coco/annotations/panoptic_val2017.json",
        ),
    ] = None
    masks: Annotated[
        str | None,
        Setting(
            "of a data set: folder of the id PNGs, local or s3://",
            unset="the JSON without its suffix",
        ),
    ] = None

    def __post_init__(self) -> None:
        require_valid(self, *self._contradictions())
        for name in ("images", "annotations", "masks"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, normalise_location(getattr(self, name)))

    def _contradictions(self) -> list[str]:
        """One sentence for each setting that does not fit the source."""
        is_coco = self.source == "coco-panoptic"
        wrong = []
        for name in ("vocabulary", "images", "annotations"):
            if is_coco != (getattr(self, name) is not None):
                verb = "must be named" if is_coco else "must be left out"
                wrong.append(f"{name} {verb} for the source {self.source!r}")
        if is_coco != (self.num_scenes is None):
            verb = "must be left out" if is_coco else "must be named"
            wrong.append(f"num_scenes {verb} for the source {self.source!r}")
        if is_coco and self.world != "playground":
            wrong.append(f"world must be left out for the source {self.source!r}")
        if self.annotations is not None and not self.annotations.endswith(".json"):
            wrong.append(f"annotations must be a .json file, got {self.annotations}")
        return wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """The network, the data, the training loop, and the output."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    output: Annotated[
        str,
        Setting(
            "folder to write to, local or s3://; the same one again goes on", example="build/t"
        ),
    ]
    network: Annotated[NetworkConfig, Setting("what the training starts from")]
    data: Annotated[
        DataConfig, Setting("what it learns from; the vocabulary is what the classifier learns")
    ]
    validation: Annotated[
        DataConfig, Setting("what it is measured on; the same vocabulary or another")
    ]
    loop: Annotated[LoopConfig, Setting("how long and how fast it learns")]
    augment: Annotated[AugmentConfig, Setting("how views of an image are drawn")] = field(
        default_factory=AugmentConfig
    )
    loss: Annotated[
        LossConfig, Setting("weights of the terms, in the matching cost and in the loss alike")
    ] = field(default_factory=LossConfig)
    num_workers: Annotated[
        int | None,
        Setting(
            "processes on a Ray cluster",
            ge=1,
            advice="leave it out to train without Ray",
            unset="this process, without Ray",
        ),
    ] = None
    gpus_per_worker: OneGpu = 0
    max_restarts: Annotated[
        int,
        Setting("restarts of all workers when one is lost; they go on from the last state", ge=0),
    ] = 0
    num_readers: Annotated[
        int, Setting("threads of each worker that read and decode images", ge=1, le=1000)
    ] = 4
    num_examples: Annotated[int, Setting("held-out images that TensorBoard shows", ge=0)] = 4
    feature_cache: Annotated[
        str | None,
        Setting(
            "local folder to keep the frozen encoders' features in; needs fixed views",
            unset="none is kept",
            example="/scratch/features",
        ),
    ] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", normalise_location(self.output))
        require_valid(self)
        require_valid(self, *self._contradictions())

    def _contradictions(self) -> list[str]:
        """One sentence for each contradiction between settings."""
        wrong, workers = [], self.num_workers or 1
        if self.loop.batch_size % workers:
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
        return wrong


def learned_from(config: TrainConfig) -> dict[str, Any]:
    """The settings that must stay the same when a training is resumed, by dotted name."""
    flat: dict[str, Any] = {}

    def collect(prefix: str, settings: dict[str, Any]) -> None:
        for name, value in settings.items():
            if isinstance(value, dict):
                collect(f"{prefix}{name}.", value)
            elif prefix + name not in CHANGEABLE:
                flat[prefix + name] = list(value) if isinstance(value, tuple) else value

    collect("", asdict(config))
    return flat
