"""Calibrate a trained model on held-out images, and measure its calibration on others.

Axes: N segments of an image, K classes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import spearmanr
from torch import Tensor

from possam_core.evaluation.fitting import fit_logistic, fit_logit_map, fit_temperature
from possam_core.evaluation.measurement import annotation, image_pq
from possam_core.evaluation.panoptic_quality import (
    PanopticQualityCounts,
    SegmentOverlaps,
    count_segments,
    overlap_segments,
    summarise,
)
from possam_core.evaluation.reliability import (
    CLAIMS,
    Outcomes,
    Reliability,
    find_outcomes,
    measure_reliability,
)
from possam_core.labels.calibration import (
    CalibrationConfig,
    ExpectedPqConfig,
    LogitMap,
    calibrate,
    class_scores,
    predicted_ious,
    presence_claims,
    quality_features,
    tempered,
)
from possam_core.labels.calibration_set import CalibrationSet
from possam_core.labels.panoptic import Merged
from possam_core.labels.quality import GRADES, grade, seen_measures
from possam_core.teachers.teacher import Teacher
from possam_core.training.data.labelled import LabelledImages
from possam_core.vocabulary.vocabulary import Vocabulary

MIN_IMAGES = 20  # to fit the expected quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """Settings for the model's card, and metrics on images that they were not fitted on."""

    calibration: CalibrationConfig  # as fitted
    metrics: dict[str, Any]  # plain values


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labelled:
    """One image, labelled and compared with the truth."""

    merged: Merged
    overlaps: SegmentOverlaps
    counts: PanopticQualityCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claims:
    """The model's claims about the segments of one image, and their outcomes."""

    class_probs: Float[Tensor, "N K"]
    is_distribution: bool
    presence: Float[Tensor, " N"]
    iou: Float[Tensor, " N"] | None  # None: the model does not predict it
    outcomes: Outcomes
    coverage: float
    pq: float | None


def _ignore() -> None:
    pass


def calibrate_teacher(
    make_teacher: Callable[[Vocabulary], Teacher],
    *,
    fit_on: LabelledImages,
    measure_on: LabelledImages,
    on_image: Callable[[], None] = _ignore,
) -> Calibrated:
    """Fit what `CalibrationConfig` holds; then measure. A function of the arguments alone.

    With fewer than `MIN_IMAGES` images to fit on, grades still use fixed thresholds.

    Args:
        make_teacher: the model for a vocabulary, as it will be shipped; its own calibration is
            ignored.
        fit_on: images that the model was not trained on.
        measure_on: other images, possibly with another vocabulary.
        on_image: called after each image of both.
    """
    teacher = make_teacher(fit_on.vocabulary)
    eta = teacher.merging.eta
    claims = [_claims(one, eta=eta) for one in _label(teacher, fit_on, on_image)]
    config = _fit(claims, [c.category_id for c in fit_on.vocabulary.classes])
    teacher = make_teacher(measure_on.vocabulary)
    measured = _measure(
        _label(teacher, measure_on, on_image), config, eta=eta, vocabulary=measure_on.vocabulary
    )
    return Calibrated(
        calibration=config,
        metrics={"fit_images": len(fit_on), "measured_images": len(measure_on), **measured},
    )


def _label(
    teacher: Teacher, images: LabelledImages, on_image: Callable[[], None]
) -> Iterator[_Labelled]:
    for index in range(len(images)):
        image = images.read(index)
        (merged,) = teacher.uncalibrated([image.pixels])
        truth = image.annotation(images.vocabulary)
        overlaps = overlap_segments(truth, annotation(merged.segmentation))
        yield _Labelled(merged=merged, overlaps=overlaps, counts=count_segments(overlaps))
        on_image()


def _claims(labelled: _Labelled, *, eta: float) -> _Claims:
    merged = labelled.merged
    height, width = merged.segmentation.image_hw
    labelled_px = sum(s.area_px for s in merged.segmentation.segments)
    return _Claims(
        class_probs=merged.class_probs.double(),
        is_distribution=merged.masks.is_distribution,
        presence=presence_claims(merged, eta=eta),
        iou=predicted_ious(merged),
        outcomes=find_outcomes(labelled.overlaps),
        coverage=labelled_px / (height * width),
        pq=image_pq(labelled.counts),
    )


def _fit(claims: Sequence[_Claims], category_ids: Sequence[int]) -> CalibrationConfig:
    is_known = np.concatenate([c.outcomes.is_known for c in claims])
    partner = np.concatenate([c.outcomes.partner for c in claims])
    best_iou = np.concatenate([c.outcomes.best_iou for c in claims])
    probs = torch.cat([c.class_probs for c in claims]).numpy()
    presence = torch.cat([c.presence for c in claims]).numpy()
    ious = [c.iou for c in claims if c.iou is not None]
    is_met = is_known & (partner >= 0)
    index_of = {category_id: i for i, category_id in enumerate(category_ids)}
    true_index = np.array([index_of[c] for c in partner[is_met].tolist()], np.int64)
    has_classes = all(c.is_distribution for c in claims)
    config = CalibrationConfig(
        temperature=fit_temperature(probs[is_met], true_index) if has_classes else 1.0,
        presence=fit_logit_map(presence[is_known], is_met[is_known].astype(np.float64)),
        iou=fit_logit_map(torch.cat(ious).numpy()[is_known], best_iou[is_known])
        if ious
        else LogitMap(),
    )
    return replace(config, expected_pq=_fit_expected_pq(claims, config))


def _fit_expected_pq(
    claims: Sequence[_Claims], config: CalibrationConfig
) -> ExpectedPqConfig | None:
    features, usual, usual_ious, found = [], [], list[float](), []
    for c in claims:
        if c.pq is None or not len(c.presence):
            continue  # the expected quality of an image without segments needs no fit
        of_class = tempered(c.class_probs, config.temperature).amax(dim=-1)
        scores = (config.presence(c.presence) * of_class).tolist()
        ious = None if c.iou is None else config.iou(c.iou).tolist()
        features.append(quality_features(scores, ious or [None] * len(scores), c.coverage))
        usual.append([c.coverage, float(np.mean(scores))])
        if ious is not None:
            usual_ious.append(float(np.mean(ious)))
        found.append(c.pq)
    if len(found) < MIN_IMAGES:
        return None
    intercept, *weights = fit_logistic(np.array(features), np.array(found)).tolist()
    coverage, score = np.mean(usual, axis=0).tolist()
    return ExpectedPqConfig(
        intercept=intercept,
        of_segments=weights[0],
        of_coverage=weights[1],
        of_few=weights[2],
        usual_coverage=coverage,
        usual_score=score,
        usual_predicted_iou=float(np.mean(usual_ious)) if usual_ious else None,
    )


def _measure(
    images: Iterator[_Labelled], config: CalibrationConfig, *, eta: float, vocabulary: Vocabulary
) -> dict[str, Any]:
    """Errors before and after, the quality of the images of each grade, and what they look like."""
    before, after = (dict.fromkeys(CLAIMS, Reliability()) for _ in range(2))
    graded: dict[str, list[tuple[float | None, float | None, PanopticQualityCounts]]] = {}
    seen = list[dict[str, float]]()
    for image in images:
        calibrated = calibrate(image.merged, config, eta=eta)
        for curves, segmentation, settings in (
            (before, image.merged.segmentation, CalibrationConfig()),
            (after, calibrated, config),
        ):
            scores = class_scores(image.merged, settings).tolist()
            measured = measure_reliability(image.overlaps, segmentation, scores)
            curves |= {name: curves[name] + measured[name] for name in CLAIMS}
        expected = calibrated.expected.pq if calibrated.expected else None
        result = (image_pq(image.counts), expected, image.counts)
        graded.setdefault(grade(calibrated)[0], []).append(result)
        seen.append(seen_measures(calibrated))
    measured_with = CalibrationSet.of(
        seen, vocabulary=vocabulary.name, vocabulary_sha256=vocabulary.fingerprint
    )
    return {
        "expected_calibration_error": {
            name: {
                "before": before[name].expected_calibration_error,
                "after": after[name].expected_calibration_error,
            }
            for name in CLAIMS
        },
        "rank_correlation_of_expected_pq": _rank_correlation(
            [
                (pq, e)
                for of in graded.values()
                for pq, e, _ in of
                if pq is not None
                if e is not None
            ]
        ),
        "grades": {g: _grade_record(graded[g]) for g in GRADES if g in graded},
        "set": measured_with.to_json(),
    }


def _grade_record(
    images: Sequence[tuple[float | None, float | None, PanopticQualityCounts]],
) -> dict[str, Any]:
    counts = sum((counts for _, _, counts in images), PanopticQualityCounts())
    return {
        "images": len(images),
        "pq": summarise(counts, {"all": counts.per_category})["all"].pq,  # of all together
        "image_pq": _mean([pq for pq, _, _ in images]),  # mean of their own
        "expected_pq": _mean([expected for _, expected, _ in images]),
    }


def _rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's; None where one side is constant."""
    sides = [list(side) for side in zip(*pairs, strict=True)]
    if not sides or min(len(set(side)) for side in sides) == 1:
        return None
    return float(spearmanr(*sides).statistic)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
