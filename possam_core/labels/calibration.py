"""What a segment's figures mean once its checkpoint was calibrated on held-out images.

The network decides alone which pixels and which class a segment has, and in which order segments
are numbered: all of this acts afterwards, on the reported figures. With the defaults they stay as
they are, bit for bit. Calibrated,

- `predicted_iou` is the IoU to expect with the true segment below it;
- `score` is the probability that the segment is right: a true segment meets it with an IoU above
  0.5 and has its class. It is the product of two: that of being met, from IoU^eta * (1 - void),
  and that of the class, from the ensembled class probabilities at a temperature;
- the image has an expected panoptic quality, from which its grade follows.

Axes: N segments, Q mask queries, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from possam_core.labels.panoptic import Merged
from possam_core.labels.scored_masks import presence
from possam_core.labels.segmentation import Expectation, PanopticSegmentation, Segment
from possam_core.settings import Setting, require_valid

LEAST_PROB = 1e-12  # so that a class that float32 has rounded to nothing keeps a logarithm
LEAST_SHARE = 0.01  # and 1 minus it the largest, where a logit is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitMap:
    """p becomes sigmoid(scale * logit(p) + shift): rising, so no order changes."""

    scale: Annotated[float, Setting("slope on the logit", gt=0)] = 1.0
    shift: Annotated[float, Setting("added to the logit")] = 0.0

    def __post_init__(self) -> None:
        require_valid(self, prefix="calibration.")

    def __call__(self, probs: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
        """The calibrated probabilities; those given as they are where nothing was fitted."""
        if (self.scale, self.shift) == (1.0, 0.0):
            return probs
        return (self.scale * torch.logit(probs, eps=1e-6) + self.shift).sigmoid()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedPqConfig:
    """How the panoptic quality of one image follows from its segments, as fitted.

    sigmoid(intercept + of_segments * logit(s) + of_coverage * logit(c) - of_few / n), where s is
    the mean over segments of score times predicted IoU (of the score alone for a model that does
    not predict it) and c the share of labelled pixels, both kept within [0.01, 0.99], and n the
    number of segments: where there are few, others were missed. No weight is negative, so more of
    any never promises less.
    """

    intercept: Annotated[float, Setting("logit of the quality before anything is added")]
    of_segments: Annotated[
        float, Setting("weight of the mean of score times predicted IoU over the segments", ge=0)
    ]
    of_coverage: Annotated[float, Setting("weight of the share of labelled pixels", ge=0)]
    of_few: Annotated[float, Setting("weight of one over the number of segments", ge=0)]
    usual_coverage: Annotated[
        float, Setting("mean coverage of the images that it was fitted on", gt=0)
    ]
    usual_score: Annotated[float, Setting("mean score of theirs", gt=0)]
    usual_predicted_iou: Annotated[
        float | None, Setting("mean predicted IoU of theirs", gt=0, unset="it is not predicted")
    ]

    def __post_init__(self) -> None:
        require_valid(self, prefix="calibration.expected_pq.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationConfig:
    """What was fitted on held-out images; the defaults change nothing."""

    temperature: Annotated[
        float, Setting("of the class probabilities; above 1 it makes them more modest", gt=0)
    ] = 1.0
    presence: Annotated[LogitMap, Setting("map of IoU^eta * (1 - void)")] = field(
        default_factory=LogitMap
    )
    iou: Annotated[LogitMap, Setting("map of the predicted IoU")] = field(default_factory=LogitMap)
    expected_pq: Annotated[
        ExpectedPqConfig | None,
        Setting("what an image's quality follows from", unset="the grade goes by fixed thresholds"),
    ] = None

    def __post_init__(self) -> None:
        require_valid(self, prefix="calibration.")


def tempered(probs: Float[Tensor, "N K"], temperature: float) -> Float[Tensor, "N K"]:
    """The softmax of the same logits over a temperature; at 1 the probabilities as they are."""
    if temperature == 1.0:
        return probs
    return (probs.clamp(min=LEAST_PROB).log() / temperature).softmax(dim=-1)


def class_scores(merged: Merged, config: CalibrationConfig) -> Float[Tensor, " N"]:
    """Per segment, the probability that its class is right, if a true segment meets it."""
    return tempered(merged.class_probs.double(), config.temperature).amax(dim=-1)


def presence_claims(merged: Merged, *, eta: float) -> Float[Tensor, " N"]:
    """Per segment, the part of its score that is not about its class."""
    return presence(predicted_ious(merged), merged.void_probs.double(), eta=eta)


def predicted_ious(merged: Merged) -> Float[Tensor, " N"] | None:
    """Per segment, the network's estimate of its IoU; None: it has no such estimate."""
    return None if merged.iou_scores is None else merged.iou_scores.double()


def calibrate(merged: Merged, config: CalibrationConfig, *, eta: float) -> PanopticSegmentation:
    """The merged segmentation with calibrated figures, and what quality to expect of it.

    Args:
        merged: of one image.
        config: as fitted, or the defaults.
        eta: exponent of the predicted IoU in the merge.
    """
    segmentation = merged.segmentation
    if config == CalibrationConfig():
        return segmentation
    ious = predicted_ious(merged)
    expected_ious = (
        [None] * len(segmentation.segments) if ious is None else config.iou(ious).tolist()
    )
    scores = config.presence(presence_claims(merged, eta=eta)) * class_scores(merged, config)
    segments = tuple(
        replace(segment, score=score, predicted_iou=iou)
        for segment, score, iou in zip(
            segmentation.segments, scores.tolist(), expected_ious, strict=True
        )
    )
    expected = None
    if config.expected_pq:
        height, width = segmentation.image_hw
        coverage = sum(s.area_px for s in segments) / (height * width)
        expected = expect_quality(segments, coverage, config.expected_pq)
    return segmentation.with_figures(segments, expected)


def expect_quality(
    segments: Sequence[Segment], coverage: float, config: ExpectedPqConfig
) -> Expectation:
    """The panoptic quality to expect of an image with these segments, and what is low in it.

    An image without segments is expected to have none.
    """
    if not segments:
        return Expectation(pq=0.0, low=())
    scores, ious = [s.score for s in segments], [s.predicted_iou for s in segments]
    weights = (config.of_segments, config.of_coverage, config.of_few)
    features = quality_features(scores, ious, coverage)
    logit = config.intercept + sum(w * x for w, x in zip(weights, features, strict=True))
    ratios = {  # to what the model usually has
        "coverage": coverage / config.usual_coverage,
        "mean_score": _mean(scores) / config.usual_score,
    }
    known = [iou for iou in ious if iou is not None]
    if known and config.usual_predicted_iou is not None:
        ratios["mean_predicted_iou"] = _mean(known) / config.usual_predicted_iou
    low = tuple(name for name, ratio in ratios.items() if ratio < 1)
    return Expectation(
        pq=1 / (1 + math.exp(-logit)), low=low or (min(ratios, key=lambda name: ratios[name]),)
    )


def quality_features(
    scores: Sequence[float], ious: Sequence[float | None], coverage: float
) -> tuple[float, float, float]:
    """What the expected quality of an image with segments is made of; the more, the better.

    They are the logits of what a segment is expected to add to PQ and of the coverage, and minus
    one over the number of segments.
    """
    added = [s if iou is None else s * iou for s, iou in zip(scores, ious, strict=True)]
    return _bounded_logit(_mean(added)), _bounded_logit(coverage), -1 / len(added)


def _bounded_logit(share: float) -> float:
    share = min(max(share, LEAST_SHARE), 1 - LEAST_SHARE)
    return math.log(share / (1 - share))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
