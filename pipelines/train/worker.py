"""The work of each worker of a training, alone or in a group: data, network, loop."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from pipelines.train.config import TrainConfig, learned_from
from pipelines.train.data import open_images
from pipelines.train.folder import open_output, write_settings
from possam_core.checkpoints.weights import ENCODERS
from possam_core.model import PosSAM
from possam_core.training.batches import ViewedImages
from possam_core.training.data.feature_cache import FeatureCache, cache_key
from possam_core.training.data.labelled import LabelledImages
from possam_core.training.files import Folder
from possam_core.training.network import Network, build_network
from possam_core.training.possam_stage import MaskTraining, train_possam
from possam_core.training.stage import LoopReport, Observer
from possam_core.training.validation import Validation
from possam_core.training.workers import Workers

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """The result of a training."""

    loop: LoopReport
    weights_sha256: tuple[str, ...]  # of the trained weights, by worker


def train_worker(config: TrainConfig, *, device: torch.device) -> WorkerReport:
    """Train, as one of the workers of torch's process group or as the only one.

    Raises:
        PossamError: the data, the network or the output cannot be used.
    """
    workers, folder = Workers(), open_output(config.output)
    images, held_out = open_images(config.data), open_images(config.validation)
    network = build_network(config.network, images.vocabulary, seed=config.loop.seed)
    model = network.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if workers.is_first:  # only now, so that a failure above leaves no settings behind
        write_settings(folder, config)
        _announce(model, images)
    validation = Validation(
        held_out,
        num_images=len(held_out),
        num_examples=config.num_examples,
        precision=config.loop.precision,
    )
    training = MaskTraining(
        vocabulary=images.vocabulary,
        batches=_batches(config, images, canvas=model.config.sam.image_size),
        loop=config.loop,
        loss=config.loss,
        sam_learns_until=config.network.sam_learns_until,
        cache=_cache(config, model, images),
        evaluate=lambda: validation.measure(model, workers),
        checkpoint=_checkpoint_writer(config, network),
    )
    with _observing(config, folder, held_out, workers) as observer:
        report = train_possam(model, training, folder, workers=workers, observer=observer)
    return WorkerReport(loop=report, weights_sha256=tuple(workers.gather(_sha256(model))))


def _announce(model: PosSAM, images: LabelledImages) -> None:
    learned = [p.numel() for n, p in model.named_parameters() if not n.startswith(ENCODERS)]
    logger.info(
        "learning %s classes from %s images; the head has %.1f million weights",
        f"{len(images.vocabulary):,}",
        f"{len(images):,}",
        sum(learned) / 1e6,
    )


def _batches(config: TrainConfig, images: LabelledImages, *, canvas: int) -> ViewedImages:
    return ViewedImages(
        images,
        config.augment,
        config.loop,
        canvas=canvas,
        num_readers=config.num_readers,
    )


def _cache(config: TrainConfig, model: PosSAM, images: LabelledImages) -> FeatureCache | None:
    if config.feature_cache is None:
        return None
    canvas, precision = model.config.sam.image_size, config.loop.precision
    key = cache_key(model, images.key, canvas=canvas, precision=precision)
    return FeatureCache(Path(config.feature_cache), key=key, num_images=len(images))


def _checkpoint_writer(
    config: TrainConfig, network: Network
) -> Callable[[int, Mapping[str, float]], bytes]:
    settings = learned_from(config)

    def write(step: int, figures: Mapping[str, float]) -> bytes:
        return network.checkpoint({"step": step, "held_out": dict(figures), "settings": settings})

    return write


@contextmanager
def _observing(
    config: TrainConfig, folder: Folder, held_out: LabelledImages, workers: Workers
) -> Iterator[Observer | None]:
    if not workers.is_first:
        yield None
        return
    from pipelines.train.log import TensorBoardLog  # takes seconds, only needed by the first worker

    log = TensorBoardLog(config.output, folder, held_out.vocabulary)
    try:
        yield log
    finally:
        log.close()


def _sha256(model: PosSAM) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
