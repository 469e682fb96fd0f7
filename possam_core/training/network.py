"""The network that a training starts from."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch

from possam_core.checkpoints.fc_clip_file import find_fc_clip
from possam_core.checkpoints.models import resolve_model
from possam_core.checkpoints.published import PUBLISHED, fetched_file
from possam_core.checkpoints.weights import load_model, save_head, save_model
from possam_core.encoders.clip import load_clip_weights
from possam_core.encoders.sam import load_sam_weights
from possam_core.errors import CheckpointError, ConfigError
from possam_core.model import ModelCard, PosSAM, full_size
from possam_core.settings import Setting, require_valid
from possam_core.training.warm_start import load_warm_start
from possam_core.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Either a checkpoint, or published encoders with a new head of full size on them."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a misspelt setting is an error

    checkpoint: Annotated[
        str | None,
        Setting(
            "bundled name, path, s3:// or hf:// address that was fetched",
            unset="a new head on published encoders",
            example="possam-tiny",
        ),
    ] = None
    fresh_head: Annotated[bool, Setting("keep of the checkpoint the encoders alone")] = False
    sam: Annotated[
        str | None,
        Setting("published SAM encoder", unset="the checkpoint's", example="vit_b"),
    ] = None
    sam_weights: Annotated[
        str | None, Setting("file of the SAM encoder", unset="where `possam weights fetch` puts it")
    ] = None
    clip: Annotated[
        str | None,
        Setting(
            "CLIP, as open_clip calls it", unset="the checkpoint's", example="convnext_large_d_320"
        ),
    ] = None
    clip_weights: Annotated[
        str | None, Setting("file of the CLIP", unset="where `possam weights fetch` puts it")
    ] = None
    init_from: Annotated[
        str | None,
        Setting(
            "decoder weights to start from: fc-clip once fetched, or a file in Mask2Former's or"
            " FC-CLIP's naming",
            unset="none",
            example="fc-clip",
        ),
    ] = None
    sam_learns_until: Annotated[
        float,
        Setting("share of the steps in which SAM learns, too; 0: it is frozen", ge=0, le=1),
    ] = 0.0

    def __post_init__(self) -> None:
        wrong = []
        published = (self.sam, self.sam_weights, self.clip, self.clip_weights)
        if self.checkpoint is None and (self.sam is None or self.clip is None):
            wrong.append("network needs a checkpoint, or both sam and clip; name them")
        if self.checkpoint is not None and any(published):
            wrong.append(
                f"network.checkpoint {self.checkpoint!r} brings its encoders; leave out sam and"
                " clip, or the checkpoint"
            )
        if self.fresh_head and self.checkpoint is None:
            wrong.append("network.fresh_head is about a checkpoint, got none; leave it out")
        require_valid(self, *wrong, prefix="network.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A model to be trained, and the published files that its checkpoints leave out."""

    model: PosSAM
    sam: Path | None = None  # published file of the frozen encoder; None: checkpoints hold it
    clip: Path | None = None

    def checkpoint(self, metrics: Mapping[str, object]) -> bytes:
        """A checkpoint of the model in its current state, with `metrics` on its card."""
        self.model.card = replace(self.model.card, metrics=dict(metrics))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.safetensors"
            if self.sam and self.clip:
                save_head(file, self.model, sam=self.sam, clip=self.clip)
            else:
                save_model(file, self.model)
            return file.read_bytes()


def build_network(config: NetworkConfig, vocabulary: Vocabulary, *, seed: int) -> Network:
    """The network of `config` to train on `vocabulary`; new weights depend on `seed`.

    Raises:
        CheckpointError: a file is missing, damaged, or of another architecture.
        ConfigError: there is no such encoder.
    """
    torch.manual_seed(seed)
    card = ModelCard(
        vocabulary=vocabulary,
        training_names=tuple(name for c in vocabulary.classes for name in c.all_names),
    )
    network = (
        _from_published(config, card)
        if config.checkpoint is None
        else _from_checkpoint(config.checkpoint, card, fresh_head=config.fresh_head)
    )
    if config.init_from:
        fc_clip = find_fc_clip(config.init_from)
        weights = fc_clip.verified_head() if fc_clip else Path(config.init_from)
        load_warm_start(network.model, weights)
    if config.sam_learns_until > 0:  # SAM will differ from the published file
        return Network(model=network.model)
    return network


def _from_checkpoint(checkpoint: str, card: ModelCard, *, fresh_head: bool) -> Network:
    parts = resolve_model(checkpoint)
    trained = load_model(checkpoint)
    model = trained
    if fresh_head:
        model = PosSAM(trained.config, card)
        model.sam, model.clip = trained.sam, trained.clip
    model.card = card
    return Network(model=model, sam=parts.sam, clip=parts.clip)


def _from_published(config: NetworkConfig, card: ModelCard) -> Network:
    assert config.sam is not None
    assert config.clip is not None
    sam = _weights_file("sam", config.sam, config.sam_weights)
    clip = _weights_file("clip", config.clip, config.clip_weights)
    model = PosSAM(full_size(config.sam, config.clip), card)
    load_sam_weights(model.sam, sam)
    load_clip_weights(model.clip, clip)
    return Network(model=model, sam=sam, clip=clip)


def _weights_file(part: str, name: str, path: str | None) -> Path:
    """The file at `path`, or else the fetched file of that encoder."""
    published = {w.name: w for w in PUBLISHED if w.part == part}
    if path is not None:
        file, how = Path(path), "check the path"
    elif name in published:
        file, how = fetched_file(published[name]), f"run `possam weights fetch {name}`"
    else:
        raise ConfigError(
            f"expected network.{part}_weights for {name!r}, which has no known published file;"
            f" name one (known are {', '.join(published)})"
        )
    if not file.is_file():
        raise CheckpointError(
            f"expected the weights of {name} at {file}, but there are none; {how}"
        )
    return file
