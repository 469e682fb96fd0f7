"""Outputs of a trained network for scenes before classification: the same for every head.

Axes: S scenes, Q mask queries, C mask features' channels, D joint width, h w mask grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from possam_core.images.batch import ImageBatch, make_batch
from possam_core.ldp import claimed_cells, mask_pool
from possam_core.model import EncoderFeatures, PosSAM
from possam_core.playground import Scene
from possam_core.training.data.scenes import SceneBatch
from possam_core.training.loss_config import LossConfig
from possam_core.training.matching import Targets, match

BATCH_SIZE = 16
BY_MASK_ALONE = LossConfig(classes=0.0)  # so that no head influences what the others are trained on


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """By scene and query: a mask, and the inputs of the forms of LDP."""

    mask_logits: Tensor  # (S, Q, h, w), half precision
    iou_scores: Tensor  # (S, Q)
    pooled: Tensor  # (S, Q, C), mask features under the mask
    queries: Tensor  # (S, Q, _)
    clip_embeddings: Tensor  # (S, Q, D), c
    has_clip: Tensor  # (S, Q)

    def blurred(self, noise: float, seed: int) -> "Evidence":
        """As if of a worse CLIP: noise of `noise` times its norm is added to each embedding."""
        clip = self.clip_embeddings
        drawn = torch.randn(clip.shape, generator=torch.Generator().manual_seed(seed))
        length = clip.norm(dim=-1, keepdim=True) / clip.shape[-1] ** 0.5  # a component's share
        return replace(self, clip_embeddings=clip + noise * length * drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadData:
    """Training data of a head: evidence, and the class of each mask."""

    evidence: Evidence
    truth: Tensor  # (S, Q), class index; void is the number of classes


@torch.inference_mode()
def evidence_of(
    model: PosSAM, batch: ImageBatch, features: EncoderFeatures | None = None
) -> Evidence:
    """The evidence of one batch, from the encoders' features if they are known."""
    device = model.clip.pixel_mean.device
    batch = batch.to(device)
    with torch.autocast(device.type, torch.bfloat16):
        features = features or model.encode(batch)
        levels = model.pyramid(features.sam)
        valid = model.valid_cells(batch, levels[0].shape[-1])
        pixels = model.pixel_decoder(levels, valid)
        (prediction,) = model.mask_decoder(pixels, valid, all_layers=False)
    masks = claimed_cells(prediction.mask_logits, valid)
    return Evidence(
        mask_logits=prediction.mask_logits.half(),
        iou_scores=prediction.iou_scores,
        pooled=mask_pool(pixels.mask_features.float(), masks),
        queries=prediction.queries.float(),
        clip_embeddings=model.pool_clip(features.clip.float(), masks),
        has_clip=masks.flatten(2).any(dim=-1),
    )


def evidence_of_scenes(model: PosSAM, scenes: Sequence[Scene]) -> tuple[Evidence, list[ImageBatch]]:
    """The evidence of whole scenes, and batches of one scene for the merge's geometry."""
    model.eval()
    found, canvas = [], model.config.sam.image_size
    frames = [make_batch([scene.image], canvas=canvas) for scene in scenes]
    for start in range(0, len(scenes), BATCH_SIZE):
        images = [scene.image for scene in scenes[start : start + BATCH_SIZE]]
        found.append(evidence_of(model, make_batch(images, canvas=canvas)))
    return joined(found), frames


def joined(parts: Sequence[Evidence]) -> Evidence:
    """Evidence of several batches as one."""
    names = Evidence.__slots__
    return Evidence(**{n: torch.cat([getattr(p, n) for p in parts]).cpu() for n in names})


@torch.inference_mode()
def targets_of(evidence: Evidence, batch: SceneBatch, valid: Tensor, *, void: int) -> Tensor:
    """(B, Q): the class of the true segment that each mask is matched to, or void."""
    logits = evidence.mask_logits.float().flatten(2)
    shares = [masks.flatten(1) for masks in batch.masks(evidence.mask_logits.shape[-1])]
    targets = Targets.stack(shares, batch.classes)
    no_classes = torch.zeros(*logits.shape[:2], void + 1)
    matches = match(logits, no_classes, targets, valid.flatten(1), BY_MASK_ALONE)
    truth = torch.full(evidence.iou_scores.shape, void)
    truth[matches.images, matches.queries] = targets.classes[matches.images, matches.segments]
    return truth
