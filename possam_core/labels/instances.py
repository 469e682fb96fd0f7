"""The other forms of a prediction: instances, which may overlap, and a class for every pixel.

As Mask2Former and FC-CLIP define them (docs/method.md 7), with the predicted IoU in an instance's
score.

Axes: Q mask queries, K classes, T classes of things, h w mask grid, H W pixels of the image.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int32
from numpy import ndarray
from torch import Tensor

from possam_core.labels.frame import Frame, resize_logits
from possam_core.labels.merge_config import MergeRules
from possam_core.labels.rle import rle_counts
from possam_core.labels.scored_masks import ScoredMasks, presence
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.vocabulary.vocabulary import Vocabulary

MAX_INSTANCES = 100  # of an image; COCO counts no more
QUERIES_AT_ONCE = 32  # at the image's size in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One predicted thing; others may claim the same pixels."""

    category_id: int
    score: float  # predicted IoU^eta * class probability after void * mean probability of its mask
    rle: str  # COCO compressed counts of its mask at the image's size


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageForms:
    """All predictions of a model for one image."""

    panoptic: PanopticSegmentation
    class_scores: tuple[float, ...]  # of each segment: that its class is right, if it is one
    instances: tuple[Instance, ...]
    class_indices: Int32[ndarray, "H W"]  # of each pixel, in the vocabulary


def find_instances(
    masks: ScoredMasks,
    vocabulary: Vocabulary,
    *,
    eta: float,
    frame: Frame,
    rules: MergeRules = "possam",
    limit: int = MAX_INSTANCES,
) -> tuple[Instance, ...]:
    """The `limit` best pairs of a mask and a class of things, the best first.

    A mask is where its logit is above 0; one that claims no pixel of the image is left out, and so
    is a score of 0. By the rules of Mask2Former only the `limit` likeliest pairs are looked at, of
    stuff as of things.

    Args:
        masks: of one image.
        vocabulary: names of the K classes.
        eta: exponent of the predicted IoU; 0 ignores it.
        frame: where the image lies on the canvas.
        rules: which pairs are looked at.
        limit: how many.
    """
    things = [i for i, c in enumerate(vocabulary.classes) if c.is_thing]
    if not things or not len(masks.mask_logits):
        return ()
    mask_probs, counts = _measure_masks(masks.mask_logits, frame)
    ious = None if masks.iou_scores is None else masks.iou_scores.float()
    weight = presence(ious, masks.void_probs.float(), eta=eta)
    weight = (weight.cpu() * mask_probs)[:, None]  # (Q, 1)
    scores = (weight * masks.class_probs[:, things].float().cpu()).flatten()  # (Q * T)
    order = scores.argsort(descending=True, stable=True)[: int((scores > 0).sum())]
    if rules == "mask2former":
        order = order[_likeliest(masks, limit)[:, things].flatten()[order]]
    chosen = [p for p in order.tolist() if counts[p // len(things)] is not None][:limit]
    return tuple(
        Instance(
            category_id=vocabulary.classes[things[place % len(things)]].category_id,
            score=float(scores[place]),
            rle=counts[place // len(things)] or "",
        )
        for place in chosen
    )


def _likeliest(masks: ScoredMasks, count: int) -> Bool[Tensor, "Q K"]:
    """The pairs of a mask and a class with the largest probabilities after void, on the CPU."""
    probs = (masks.class_probs.float() * (1 - masks.void_probs.float())[:, None]).cpu()
    best = probs.flatten().argsort(descending=True, stable=True)[:count]
    chosen = torch.zeros(probs.numel(), dtype=torch.bool)
    chosen[best] = True
    return chosen.view(probs.shape)


def label_pixels(masks: ScoredMasks, *, frame: Frame) -> Int32[ndarray, "H W"]:
    """Class index of each pixel: the largest sum over masks of P_k(c) (1 - void_k) sigmoid(m_k).

    Memory: 4 bytes times pixels, for each class and for `QUERIES_AT_ONCE` masks.
    """
    probs = (masks.class_probs.float() * (1 - masks.void_probs.float())[:, None]).T  # (K, Q)
    height, width = frame.image_hw
    totals = probs.new_zeros((len(probs), height * width))
    for start in range(0, len(masks.mask_logits), QUERIES_AT_ONCE):
        some = slice(start, start + QUERIES_AT_ONCE)
        claims = resize_logits(masks.mask_logits[some], frame).sigmoid().flatten(1)
        totals.addmm_(probs[:, some], claims)
    best: Int32[ndarray, "H W"] = totals.argmax(dim=0).int().cpu().numpy().reshape(height, width)
    return best


def _measure_masks(
    mask_logits: Float[Tensor, "Q h w"], frame: Frame
) -> tuple[Float[Tensor, " Q"], list[str | None]]:
    """Mean probability inside each mask, and its RLE; None where it claims no pixel."""
    means, counts = [], list[str | None]()
    for start in range(0, len(mask_logits), QUERIES_AT_ONCE):
        logits = resize_logits(mask_logits[start : start + QUERIES_AT_ONCE], frame)
        inside = logits > 0
        num_px = inside.flatten(1).sum(dim=1)
        total = (logits.sigmoid() * inside).flatten(1).sum(dim=1)
        means.append((total / num_px.clamp(min=1)).cpu())
        counts += [rle_counts(mask).get(1) for mask in inside.int().cpu().numpy()]
    return torch.cat(means), counts
