"""Stage 1: trains CLIP-tiny, in place of a web-trained CLIP, by region-text contrast.

Regions are true masks on whole scenes, captions are prompts around a name of their class. It is the
only stage that sees every class by name; batches alternate between worlds, with their own captions.

Axes: N regions, D joint width, K classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from possam_core.encoders.clip import ClipEncoder
from possam_core.ldp import mask_pool
from possam_core.training.batches import ReadAhead
from possam_core.training.data.scenes import (
    AlternatingBatches,
    SceneBatch,
    SceneStore,
    StoredScenes,
)
from possam_core.training.evaluating import evaluating
from possam_core.training.files import Folder
from possam_core.training.loop import train_stage
from possam_core.training.stage import Evaluation, LoopConfig, Stage, StepResult
from possam_core.vocabulary.vocabulary import PROMPT_TEMPLATES, Vocabulary

MAX_SHIFT_PX = 3  # regions are displaced by up to this: predicted masks are not exact either


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldScenes:
    """Scenes of one world, and the names of their classes."""

    vocabulary: Vocabulary  # classes of scenes are positions in it
    scenes: SceneStore
    held_out: SceneStore


def train_clip(
    clip: ClipEncoder, worlds: Sequence[WorldScenes], config: LoopConfig, folder: Folder
) -> None:
    """Train both towers of `clip` on the regions of the worlds' scenes; resumes from `folder`."""
    device = clip.pixel_mean.device
    batches = AlternatingBatches(
        [
            StoredScenes(
                world.scenes,
                torch.arange(len(world.vocabulary)),
                batch_size=config.batch_size,
                seed=config.seed,
            )
            for world in worlds
        ]
    )
    reader = ReadAhead(batches, [range(config.batch_size)], num_steps=config.num_steps)

    def learn(step: int) -> Iterator[StepResult]:
        world = worlds[step % len(worlds)]
        batch = reader.read(step)[0].to(device)
        rng = np.random.default_rng((config.seed, step))
        captions = [_caption(c.all_names, rng) for c in world.vocabulary.classes]
        shift = tuple(int(s) for s in rng.integers(-MAX_SHIFT_PX, MAX_SHIFT_PX + 1, size=2))
        with torch.autocast(device.type, torch.bfloat16):
            regions = embed_regions(clip, batch, shift_px=(shift[0], shift[1]))
        texts = clip.encode_prompts(captions)
        truth = torch.cat(batch.classes)
        logits = clip.logit_scale * regions @ texts.T  # (N, K)
        loss = functional.cross_entropy(logits, truth) + _text_to_region(logits, truth)
        accuracy = float((logits.argmax(dim=-1) == truth).float().mean())
        yield StepResult(loss, {"accuracy": accuracy})

    def evaluate() -> Evaluation:
        return Evaluation(
            {
                f"{world.vocabulary.name} {kind}": value
                for world in worlds
                for kind, value in clip_accuracy(clip, world).items()
            }
        )

    stage = Stage(name="clip", module=clip, learn=learn, evaluate=evaluate)
    try:
        with _fast_gradients(clip):
            train_stage(stage, config, folder)
    finally:
        reader.close()


@contextmanager
def _fast_gradients(module: nn.Module) -> Iterator[None]:
    """Depthwise convolutions in float32 on CPUs: their bfloat16 gradient is 2.5 times as slow."""

    def forward(convolution: nn.Conv2d, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return nn.Conv2d.forward(convolution, x.float()).to(x.dtype)

    depthwise = [m for m in module.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    for convolution in depthwise:
        if convolution.weight.device.type == "cpu":
            convolution.forward = partial(forward, convolution)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for convolution in depthwise:
            vars(convolution).pop("forward", None)


@torch.no_grad()
def clip_accuracy(clip: ClipEncoder, world: WorldScenes) -> dict[str, float]:
    """Share of true regions that the text embeddings classify correctly, over held-out scenes."""
    with evaluating(clip):
        return _accuracy(clip, world)


def _accuracy(clip: ClipEncoder, world: WorldScenes) -> dict[str, float]:
    device = clip.pixel_mean.device
    text = clip.embed_vocabulary(world.vocabulary)
    is_thing = torch.tensor([c.is_thing for c in world.vocabulary.classes], device=device)
    hits, things = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        batch = world.held_out.batch(rng, min(32, len(world.held_out))).to(device)
        truth = torch.cat(batch.classes)
        predicted = text.class_logits(embed_regions(clip, batch)).argmax(dim=-1)
        hits.append(predicted == truth)
        things.append(is_thing[truth])
    hit, thing = torch.cat(hits).float(), torch.cat(things)
    return {"things": float(hit[thing].mean()), "stuff": float(hit[~thing].mean())}


def embed_regions(
    clip: ClipEncoder, batch: SceneBatch, *, shift_px: tuple[int, int] = (0, 0)
) -> Tensor:
    """L2-normalised (N, D) embeddings of every true segment of the batch, in order."""
    features = clip.dense_features(batch.images)
    grid = features.shape[-1]
    shifted = SceneBatch(batch.images, batch.ids.roll(shift_px, dims=(1, 2)), batch.classes)
    regions = mask_pool(features, pad_sequence(shifted.masks(grid), batch_first=True))
    pooled = [of_image[: len(c)] for of_image, c in zip(regions, batch.classes, strict=True)]
    return functional.normalize(clip.project(torch.cat(pooled)).float(), dim=-1)


def _text_to_region(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean over captions with a region: -log of the share of its regions in the softmax."""
    positive = functional.one_hot(truth, logits.shape[1]).bool()  # (N, K)
    present = positive.any(dim=0)
    over_regions = logits.log_softmax(dim=0).masked_fill(~positive, -torch.inf)
    return -over_regions.logsumexp(dim=0)[present].mean()


def _caption(names: tuple[str, ...], rng: np.random.Generator) -> str:
    name = names[int(rng.integers(len(names)))]
    return PROMPT_TEMPLATES[int(rng.integers(len(PROMPT_TEMPLATES)))].format(name)
